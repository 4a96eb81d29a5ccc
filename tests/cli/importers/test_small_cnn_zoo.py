from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

import conversions
from graphws.cli.importers.parts.protocol import Options
from graphws.cli.importers.small_cnn_zoo import IMPORTER
from graphws.zoo import MixedZoo, open_mixed
from tests.cli.importers.test_sirens import error, rejected, run
from tests.public_cnns import RUNS, STEPS, hwio_function, trained_small, write_metrics, write_small_zoo

COUNT = RUNS * len(STEPS)
FINAL = [i for i in range(COUNT) if i % 3 == 2]


def rows_of(zoo: MixedZoo) -> list[int]:
    return [int(name.split()[1]) for name in zoo.table["path"].to_pylist()]


def write_split(root: Path, header: bool = True, seed: int = 1) -> list[int]:
    """As NFN publishes it: a header line "0", then every row once, shuffled."""
    order = list(range(COUNT))
    random.Random(seed).shuffle(order)
    (root / f"{root.name}_split.csv").write_text("\n".join(map(str, ([0] if header else []) + order)) + "\n")
    return order


def nfn(order: list[int]) -> dict[int, list[str]]:
    """Splits of each final row, step by step as the published reader does it."""
    final = [row for row in order if row in FINAL]
    half = int(0.5 * len(final))
    places = list(range(half))
    random.Random(0).shuffle(places)
    found: dict[int, list[str]] = {}
    for i in places[: int(0.8 * half)]:
        found.setdefault(final[i], []).append("train")
    for i in places[int(0.8 * half) :]:
        found.setdefault(final[i], []).append("val")
    for row in final[half:]:
        found.setdefault(row, []).append("test")
    return found


def test_networks_compute_what_their_rows_do(tmp_path: Path) -> None:
    root = write_small_zoo(tmp_path)
    assert run(root, tmp_path / "zoo", "--format", "small-cnn-zoo", "--chunk", "7") == 0
    zoo = open_mixed(tmp_path / "zoo")
    assert (len(zoo), zoo.convention, len(zoo.architectures)) == (COUNT, "small-cnn-zoo", 2)
    assert zoo.verify() == []
    images = np.random.default_rng(0).random((3, 17, 20, 1))
    for graph, row, facts in zip(zoo.graphs(range(COUNT)), rows_of(zoo), zoo.table.to_pylist(), strict=True):
        values, metrics = trained_small()[row]
        expected = torch.from_numpy(hwio_function(values, images, metrics["config.activation"])).float()
        given = conversions.execute(graph, torch.from_numpy(images).permute(0, 3, 1, 2).float())
        torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-5)
        for name, value in metrics.items():
            assert facts[name] == pytest.approx(value), name
    accuracies = zoo.table["test_accuracy"].to_pylist()
    assert max(accuracies) > 0.4 > min(accuracies)


def test_checkpoints_of_one_run_stay_in_one_split(tmp_path: Path) -> None:
    root = write_small_zoo(tmp_path)
    assert run(root, tmp_path / "zoo") == 0
    splits: dict[str, set[str]] = {}
    for row in open_mixed(tmp_path / "zoo").table.to_pylist():
        splits.setdefault(row["modeldir"], set()).add(row["split"])
    assert len(splits) == RUNS
    assert all(len(names) == 1 for names in splits.values())


def test_the_published_split_without_and_with_its_header(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_small_zoo(tmp_path)
    order = write_split(root)
    assert run(root, tmp_path / "zoo") == 0
    zoo = open_mixed(tmp_path / "zoo")
    expected = nfn(order)
    for row, facts in zip(rows_of(zoo), zoo.table.to_pylist(), strict=True):
        assert [facts["split"]] == expected[row - row % 3 + 2]  # its run's last checkpoint
    protocol = zoo.manifest["provenance"]["split_protocol"]
    assert protocol.startswith("NFN's: mnist_split.csv, sha256 ")
    assert "its header line is none of the networks" in protocol

    assert run(root, tmp_path / "zoo2", "--format", "small-cnn-zoo", "--reproduce-nfn-split") == 0
    zoo = open_mixed(tmp_path / "zoo2")
    found: dict[int, list[str]] = {}
    for row, facts in zip(rows_of(zoo), zoo.table.to_pylist(), strict=True):
        found.setdefault(row, []).append(facts["split"])
    assert {row: sorted(names) for row, names in found.items()} == {
        row: sorted(names) for row, names in nfn([0, *order]).items()
    }
    assert "as NFN reads it, its header line is network 0" in zoo.manifest["provenance"]["split_protocol"]


def test_network_0_is_there_twice_where_its_header_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 0 of the published data is of step 0; here it is finished, and so is in the zoo twice."""
    root = write_small_zoo(tmp_path)
    rows = [dict(facts) for _, facts in trained_small()]
    rows[0]["step"], rows[2]["step"] = 86, 0
    write_metrics(root, rows)
    write_split(root)
    layout = IMPORTER.open(root, Options(reproduce_nfn_split=True))
    names = [candidate.name for candidate in layout.candidates]
    assert len(names) == RUNS + 1 == len(set(names))
    assert {"row 0", "row 0 again"} <= set(names)
    reading = layout.read(names, lambda row: None)
    stacked = {names[row]: x for stack in reading.stacks for row, x in zip(stack.rows, stack.x, strict=True)}
    assert torch.equal(stacked["row 0"], stacked["row 0 again"])


def test_split_files_that_do_not_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_small_zoo(tmp_path)
    path, more = root / "mnist_split.csv", ("--format", "small-cnn-zoo", "--reproduce-nfn-split")
    assert run(root, tmp_path / "zoo", *more) == 2
    assert "mnist_split.csv: no such file; NFN publishes it" in error(capsys)
    for content in ("0\n0\n1\n", "\n".join(map(str, [*range(COUNT - 1), 5])), "0\n1\nx\n", ""):
        path.write_text(content)
        assert run(root, tmp_path / "zoo", *more) == 2
        assert "mnist_split.csv: expected " in error(capsys)
    write_split(root, header=False)
    assert run(root, tmp_path / "zoo", *more) == 0


def test_bad_rows_and_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_small_zoo(tmp_path)
    weights = np.load(root / "weights.npy")
    weights[4, 7], weights[5, :3] = np.nan, np.inf
    np.save(root / "weights.npy", weights)
    rows = [dict(facts) for _, facts in trained_small()]
    rows[8] |= {"modeldir": rows[7]["modeldir"], "step": rows[7]["step"]}
    rows[10]["test_accuracy"], rows[11]["test_accuracy"], rows[12]["config.activation"] = 1.5, "nan", "odd"
    write_metrics(root, rows)
    assert run(root, tmp_path / "zoo") == 0
    reasons = rejected(tmp_path / "zoo")
    assert list(reasons) == ["row 10", "row 11", "row 12", "row 4", "row 5", "row 8"]
    for name, part in {
        "row 4": "expected finite weights, found 1 NaN",
        "row 5": "found 3 NaN or infinite",
        "row 8": "row 7 is step 2 of the same run, /cns/run2",
        "row 10": "test_accuracy '1.5' is out of range",
        "row 11": "test_accuracy 'nan' is out of range",
        "row 12": "config.activation: activation 'odd': unknown activation 'odd'",
    }.items():
        assert part in reasons[name]
    assert sorted(rows_of(open_mixed(tmp_path / "zoo"))) == [i for i in range(COUNT) if f"row {i}" not in reasons]


@pytest.mark.parametrize(
    ("file", "damage", "part"),
    [
        ("weights.npy", lambda b: b[:-100], "no array of numbers, or truncated"),
        ("weights.npy", lambda b: b"", "no array of numbers, or truncated"),
        ("metrics.csv.gz", lambda b: b[:-60], "no CSV table, or truncated"),
        ("metrics.csv.gz", lambda b: b"", "no CSV table, or truncated"),
        ("layout.csv", lambda b: b[:-40], "layout"),
        ("layout.csv", lambda b: b.replace(b"kernel", b"kern"), "layout"),
        ("layout.csv", lambda b: b"", "layout"),
        ("metrics.csv.gz", None, "no such file"),
    ],
)
def test_damaged_files_are_one_line(
    file: str, damage: object, part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_small_zoo(tmp_path)
    if damage is None:
        (root / file).unlink()
    else:
        (root / file).write_bytes(damage((root / file).read_bytes()))  # type: ignore[operator]
    assert run(root, tmp_path / "zoo", "--format", "small-cnn-zoo") == 2
    assert part in error(capsys)
    assert not (tmp_path / "zoo").exists()


def test_lengths_and_columns_that_differ(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_small_zoo(tmp_path)
    rows = [dict(facts) for _, facts in trained_small()]
    write_metrics(root, rows[:-1])
    assert run(root, tmp_path / "zoo") == 2
    assert "has 35 rows, " in error(capsys)
    write_metrics(root, [{name: value for name, value in row.items() if name != "step"} for row in rows])
    assert run(root, tmp_path / "zoo") == 2
    assert "expected the columns step" in error(capsys)


def test_an_import_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from graphws.cli.importers import small_cnn_zoo

    root = write_small_zoo(tmp_path)
    assert run(root, tmp_path / "whole", "--chunk", "10") == 0
    call = small_cnn_zoo.RowReader.__call__

    def stops(self, names, begin=None):  # type: ignore[no-untyped-def]
        if "row 25" in names:
            raise KeyboardInterrupt
        return call(self, names)

    with monkeypatch.context() as patch:
        patch.setattr(small_cnn_zoo.RowReader, "__call__", stops)
        assert run(root, tmp_path / "zoo", "--chunk", "10") != 0
    assert run(root, tmp_path / "zoo", "--chunk", "10") == 0
    for path in (tmp_path / "whole").rglob("*.*"):
        assert (tmp_path / "zoo" / path.relative_to(tmp_path / "whole")).read_bytes() == path.read_bytes()


def test_a_choice_of_rows(tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    root = write_small_zoo(tmp_path)
    condition = "step = 86 and \"config.activation\" = 'relu'"
    assert run(root, tmp_path / "zoo", "--select", condition) == 0
    zoo = open_mixed(tmp_path / "zoo")
    assert sorted(rows_of(zoo)) == [row for row in FINAL if trained_small()[row][1]["config.activation"] == "relu"]
    assert zoo.manifest["provenance"]["select"] == condition
