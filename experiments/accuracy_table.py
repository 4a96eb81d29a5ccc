"""The first table of docs/results.md, from result files: ``python experiments/accuracy_table.py RUN.. --zoo ZOO``.

What runs and zoo say is kept in ``accuracy_prediction/results.json``; the page is written from that file alone, also
without arguments. ``--check`` writes nothing and exits 1 where the page differs from the file.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from graphws.atomic import write_text
from graphws.report import Row, markdown_table, read_results, rows_of
from graphws.report.benchmarks import insert_section
from graphws.zoo import open_mixed

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "experiments/accuracy_prediction/results.json", ROOT / "docs/results.md"
SECTION = "accuracies"
COLUMNS = ("run", "model", "parameters", "train", "epochs", "seeds", "tau", "R2", "processor seconds")
BINS = 10
Found = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="*", metavar="RUN", help="run directories, or folders of them")
    parser.add_argument("--zoo", help="folder of the zoo that the runs were fitted on")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where the page differs")
    given = parser.parse_args(arguments)
    if bool(given.runs) != bool(given.zoo) or (given.runs and given.check):
        parser.error("expected runs and --zoo, or neither; --check goes with neither")
    if given.runs:
        found = {"zoo": zoo_facts(given.zoo), "rows": run_facts(given.runs)}
        write_text(RESULTS, json.dumps(found, indent=1) + "\n")
    section = text_of(json.loads(RESULTS.read_text(encoding="utf-8"))).strip()
    if given.check:
        return int(f"-->\n{section}\n<!--" not in PAGE.read_text(encoding="utf-8"))
    insert_section(PAGE, SECTION, section)
    return 0


def zoo_facts(folder: str) -> Found:
    """What a zoo of classifiers holds."""
    zoo = open_mixed(folder)
    table = zoo.table
    accuracy = sorted(table["test_accuracy"].to_pylist())
    bins = Counter(min(int(value * BINS), BINS - 1) for value in accuracy)
    return {
        "networks": zoo.count,
        "runs": len(set(table["run"].to_pylist())),
        "activations": dict(sorted(Counter(table["activation"].to_pylist()).items())),
        "splits": dict(sorted(Counter(table["split"].to_pylist()).items())),
        "accuracy": {"least": accuracy[0], "median": statistics.median(accuracy), "most": accuracy[-1]},
        "above": {str(limit): sum(value > limit for value in accuracy) for limit in (0.9, 0.95, 0.97)},
        "histogram": [bins[place] for place in range(BINS)],
        "origin": {name: zoo.manifest["provenance"].get(name) for name in ("seed", "images", "versions")},
    }


def run_facts(runs: Sequence[str]) -> list[Found]:
    """What each setup measured, over its seeds; a number that is not finite is None."""
    results = read_results(runs)
    epochs = {result["run"]: result.get("epochs") for result in results}
    hashes = {result["run"]: result["data"]["hash"] for result in results}
    return [_facts(row, epochs[row.runs[0]], hashes[row.runs[0]]) for row in rows_of(results)]


def _facts(row: Row, epochs: int | None, data_hash: str) -> Found:
    measured = {
        name: [value if math.isfinite(value) else None for value in row.measured[name]] for name in ("kendall", "r2")
    }
    return {
        "run": row.name,
        "model": row.model,
        "parameters": row.parameters,
        "train": row.networks,
        "data": data_hash,
        "epochs": epochs,
        "seeds": list(row.seeds),
        **measured,
        "processor_seconds": list(row.processor_seconds),
    }


def text_of(found: Found) -> str:
    """The section of the page: the zoo's facts, its histogram, the table."""
    zoo = found["zoo"]
    counts = ", ".join(f"{count:,} {name}" for name, count in zoo["activations"].items())
    splits = ", ".join(f"{zoo['splits'][name]:,} {name}" for name in ("train", "val", "test"))
    accuracy, above = zoo["accuracy"], zoo["above"]
    high = ", ".join(f"{count:,} above {limit}" for limit, count in above.items())
    lines = [
        f"{zoo['networks']:,} networks of {zoo['runs']:,} trainings ({counts}; {splits}), test accuracy "
        f"{accuracy['least']:.4f} to {accuracy['most']:.4f}, median {accuracy['median']:.4f} ({high}):\n"
    ]
    edges = [f"{place / BINS:.1f} to {(place + 1) / BINS:.1f}" for place in range(BINS)]
    lines.append(markdown_table(("test accuracy", *edges), [["networks", *map(str, zoo["histogram"])]]))
    rows = sorted(found["rows"], key=lambda row: -_mean(row["kendall"], math.inf * -1))
    hashes = dict.fromkeys(row["data"] for row in rows)
    lines.append(f"Hash of the networks' data: {', '.join(f'`{data_hash}`' for data_hash in hashes)}.\n")
    lines.append(markdown_table(COLUMNS, [_cells(row) for row in rows]))
    return "\n".join(lines)


def _cells(row: Found) -> list[str]:
    return [
        row["run"],
        row["model"],
        "-" if row["parameters"] is None else f"{row['parameters']:,}",
        f"{row['train']:,}",
        "-" if row["epochs"] is None else str(row["epochs"]),
        ", ".join(map(str, row["seeds"])),
        _spread(row["kendall"]),
        _spread(row["r2"]),
        f"{statistics.fmean(row['processor_seconds']):.1f}" if row["processor_seconds"] else "-",
    ]


def _mean(values: Sequence[float | None], otherwise: float) -> float:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else otherwise


def _spread(values: Sequence[float | None]) -> str:
    """Mean and sample standard deviation over seeds; a dash where one is not defined."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return "-"
    return f"{statistics.fmean(known):.3f}" + (f" ± {statistics.stdev(known):.3f}" if len(known) > 1 else "")


if __name__ == "__main__":
    raise SystemExit(main())
