from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from graphws import Architecture
from graphws.zoo import importing, open_mixed
from graphws.zoo.importing import Candidate, ImportSettings, Reading, Stack, import_networks
from graphws.zoo.splitting import SplitRule

ARCHITECTURES = Architecture.mlp((2, 3, 1)), Architecture.mlp((1, 2))


def candidates(count: int, **known: object) -> list[Candidate]:
    return [Candidate(f"{i:03d}", 10, i, **known) for i in range(count)]  # type: ignore[arg-type]


def read(names: Sequence[str]) -> Reading:
    """Every seventh is bad; the others' values are their numbers, and they are of two architectures in turn."""
    good = [row for row, name in enumerate(names) if int(name) % 7]
    stacks = []
    for parity, arch in enumerate(ARCHITECTURES):
        rows = [row for row in good if int(names[row]) % 2 == parity]
        value = torch.tensor([float(names[row]) for row in rows]).view(-1, 1, 1)
        shapes = (arch.num_nodes, 1), (arch.num_edges, 1)
        if rows:
            stacks.append(Stack(arch, rows, *(value.expand(-1, *shape).contiguous() for shape in shapes)))
    return Reading(stacks, dict.fromkeys({*range(len(names))} - {*good}, "bad, they say"))


def settings(**changes: object) -> ImportSettings:
    return ImportSettings({"from": "a test"}, **{"chunk": 10, **changes})  # type: ignore[arg-type]


def test_networks_rows_and_rejections(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    done = import_networks(
        tmp_path / "zoo", candidates(25), read, settings(), refused={"z": "no label"},
        progress=lambda files, bad: told.append((files, bad)),
    )  # fmt: skip
    assert (done.networks, done.rejected, done.architectures, done.resumed) == (21, 5, 2, 0)
    assert told == [(10, 2), (10, 1), (5, 1)]
    zoo = open_mixed(tmp_path / "zoo")
    assert zoo.manifest["provenance"]["from"] == "a test"
    for graph, name, member in zip(
        zoo.graphs(range(21)), zoo.table["path"].to_pylist(), zoo.table["architecture"].to_pylist(), strict=True
    ):
        assert graph.x.unique().tolist() == [float(name)]
        assert graph.architecture == zoo.architectures[member] == ARCHITECTURES[int(name) % 2]
    with (tmp_path / "zoo" / "rejected.csv").open(newline="") as file:
        bad = [(row["path"], row["reason"]) for row in csv.DictReader(file)]
    assert bad == [(name, "bad, they say") for name in ("000", "007", "014", "021")] + [("z", "no label")]


def test_split_shares_and_seed(tmp_path: Path) -> None:
    drawn = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        import_networks(tmp_path / name, candidates(70), read, settings(split=SplitRule((0.5, 0.3, 0.2), seed)))
        zoo = open_mixed(tmp_path / name)
        assert zoo.manifest["splits"] == {"train": 30, "val": 18, "test": 12}
        drawn.append(zoo.table["split"].to_pylist())
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_split_of_ones_own_is_kept(tmp_path: Path) -> None:
    known = [*candidates(20, split="test"), *(Candidate(f"{i:03d}", 1, 1) for i in range(20, 30))]
    import_networks(tmp_path / "zoo", known, read, settings(split=SplitRule((1, 0, 0))))
    zoo = open_mixed(tmp_path / "zoo")
    rows = zoo.table.select(["path", "split"]).to_pylist()
    assert all((row["split"] == "test") == (int(row["path"]) < 20) for row in rows)


def test_columns_keep_their_types(tmp_path: Path) -> None:
    known = [
        Candidate(f"{i:03d}", 1, 1, columns={"loss": i / 2 if i > 1 else None, "note": f"{i}", "steps": i})
        for i in range(5)
    ]
    import_networks(tmp_path / "zoo", known, read, settings())
    table = open_mixed(tmp_path / "zoo").table
    order = [int(name) for name in table["path"].to_pylist()]
    assert table["loss"].to_pylist() == [i / 2 if i > 1 else None for i in order]
    assert table["note"].to_pylist() == [f"{i}" for i in order]
    assert [str(table[name].type) for name in ("loss", "note", "steps")] == ["double", "string", "int64"]
    with pytest.raises(ValueError, match="have no labels"):
        open_mixed(tmp_path / "zoo").labels("train")


def test_the_order_in_which_a_reader_finds_architectures_does_not_matter(tmp_path: Path) -> None:
    def backwards(names: Sequence[str]) -> Reading:
        reading = read(names)
        return Reading(reading.stacks[::-1], reading.rejected)

    for name, reader in (("a", read), ("b", backwards)):
        import_networks(tmp_path / name, candidates(25), reader, settings())
    one, other = (
        {p.relative_to(tmp_path / name): p.read_bytes() for p in (tmp_path / name).rglob("*") if p.is_file()}
        for name in "ab"
    )
    assert one == other


@pytest.mark.parametrize("damage", ["note", "shard", "architecture"])
def test_a_damaged_chunk_is_read_again(tmp_path: Path, damage: str) -> None:
    def stops(names: Sequence[str]) -> Reading:
        if names[0] == "020":
            raise KeyboardInterrupt
        return read(names)

    seen: list[str] = []

    def watched(names: Sequence[str]) -> Reading:
        seen.append(names[0])
        return read(names)

    import_networks(tmp_path / "whole", candidates(25), read, settings())
    folder = tmp_path / "zoo"
    with pytest.raises(KeyboardInterrupt):
        import_networks(folder, candidates(25), stops, settings())
    pattern = {"note": "*/chunk-00001.json", "shard": "shards/*-00001-0001.*", "architecture": "*/architecture-*"}
    spoiled = next(folder.glob(pattern[damage]))
    spoiled.unlink() if damage == "architecture" else spoiled.write_bytes(spoiled.read_bytes()[:-5])
    done = import_networks(folder, candidates(25), watched, settings())
    again = ["000", "010"] if damage == "architecture" else ["010"]  # which both have
    assert seen == [*again, "020"]
    assert done.resumed == 20 - 10 * len(again)
    for path in (tmp_path / "whole").rglob("*.*"):
        assert (folder / path.relative_to(tmp_path / "whole")).read_bytes() == path.read_bytes()


def test_another_import_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        import_networks(tmp_path / "zoo", candidates(5), lambda names: 1 / 0, settings())  # type: ignore[arg-type, return-value]
    with pytest.raises(ValueError, match=r"seed is 0 there and 3 here; choose another folder"):
        import_networks(tmp_path / "zoo", candidates(5), read, settings(split=SplitRule(seed=3)))
    with pytest.raises(ValueError, match="files is"):
        import_networks(tmp_path / "zoo", candidates(6), read, settings())
    assert import_networks(tmp_path / "zoo", candidates(5), read, settings()).networks == 4


def test_chunks_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "CHUNK_BYTES", 25)
    assert importing._chunks(candidates(5), 10) == [range(2), range(2, 4), range(4, 5)]
    large = [Candidate(str(i), 100, 0) for i in range(2)]
    assert importing._chunks(large, 10) == [range(1), range(1, 2)]


def test_nothing_good_leaves_nothing(tmp_path: Path) -> None:
    for files in (candidates(1), []):
        with pytest.raises(
            ValueError, match=r"none of 1 file\(s\) is a network; the first, 000: bad, they say|no file"
        ):
            import_networks(tmp_path / "zoo", files, read, settings())
        assert not (tmp_path / "zoo").exists()


def test_a_killed_import_of_nothing_good_leaves_an_empty_folder_free(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        import_networks(tmp_path / "zoo", candidates(1), lambda names: 1 / 0, settings())  # type: ignore[arg-type, return-value]
    with pytest.raises(ValueError, match="is a network"):
        import_networks(tmp_path / "zoo", candidates(1), read, settings())
    assert import_networks(tmp_path / "zoo", candidates(5), read, settings(split=SplitRule(seed=2))).networks == 4
