import json

import pytest

import graphws
from graphws.expressivity import expressivity_map
from graphws.expressivity.families import FAMILIES, Family
from graphws.targets import KINDS

TWO = tuple(family for family in FAMILIES if family.name in ("GMN", "NFT"))


@pytest.fixture(scope="module")
def found():
    return expressivity_map(TWO)


def test_every_target_and_setting_has_a_row_a_family(found):
    assert len(found.rows) == 4 * 2 * len(TWO)
    assert {row.kind for row in found.rows} == {kind.name for kind in KINDS}
    assert graphws.expressivity.map is expressivity_map


def test_rows_say_what_the_paper_says(found):
    assert found.agrees
    verdicts = {(row.kind, row.setting.split(",")[0], row.model): row for row in found.rows}
    for kind in KINDS:
        everywhere = verdicts[kind.name, "everywhere", "GMN"]
        assert everywhere.verdict == ("approximated" if kind.universal_everywhere else "impossible")
        assert verdicts[kind.name, "general position", "GMN"].verdict == "approximated"
        assert verdicts[kind.name, "general position", "GMN"].error <= 1e-6


def test_what_is_impossible_reaches_its_bound(found):
    rows = [row for row in found.rows if row.verdict == "impossible"]
    assert {row.model for row in rows} == {"GMN", "NFT"}
    for row in rows:
        assert row.error == pytest.approx(row.bound, rel=1e-6)
        assert row.bound == pytest.approx({"f -> f": 0.5}.get(row.kind, row.bound))
    bounds = {row.kind: row.bound for row in rows}
    assert bounds["permutation-invariant functional"] == pytest.approx(2**0.5 - 1)
    assert bounds["function-space operator"] == 0.5
    assert bounds["permutation-equivariant operator"] == 1.0


def test_nft_goes_beyond_the_bound_of_the_others(found):
    for row in found.rows:
        if row.model == "NFT" and row.setting == "everywhere" and row.kind.startswith("permutation"):
            assert row.verdict == "approximated"
            assert row.agrees is None
            assert row.difference > 1e-9


def test_a_family_that_is_said_to_be_bounded_and_is_not_disagrees():
    nft = TWO[1]
    wrong = expressivity_map((Family("NFT, said to be bounded", True, nft.make, nft.head),))
    assert not wrong.agrees
    assert [row.agrees for row in wrong.rows].count(False) == 2


def test_json_and_cells(found):
    content = json.loads(found.to_json())
    assert content["agrees"] is True
    assert len(content["rows"]) == len(found.rows)
    assert content["rows"][0]["difference"] is None
    assert "Proven in the paper" in content["note"]
    assert len({len(row.cells()) for row in found.rows}) == 1
    seen = []
    expressivity_map(TWO[:1], progress=seen.append)
    assert len(seen) == 8
