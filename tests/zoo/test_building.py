from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from graphws.functional import realise
from graphws.zoo import BuildSettings, FitSettings, ImageSet, Zoo, build_inr_zoo, building, coordinates
from graphws.zoo.building import Built

SETTINGS = BuildSettings(count=10, layout=(2, 4, 1), chunk=4, fit=FitSettings(steps=25, learning_rate=1e-2))


def images(count: int = 12) -> ImageSet:
    pictures = torch.randint(0, 256, (count, 3, 4, 1), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return ImageSet("noise", pictures, torch.arange(count) % 3, ("a", "b", "c"))


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def interrupt_after(chunks: int) -> Callable[[int, int], None]:
    """A progress function that raises once the first chunks are done."""
    seen = 0

    def progress(steps: int, ahead: int) -> None:
        nonlocal seen
        seen += ahead
        if seen > chunks * SETTINGS.chunk * SETTINGS.fit.steps:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize("convention", ["dws", "nfn"])
def test_a_built_zoo_holds_what_its_table_says(tmp_path: Path, convention: str) -> None:
    source = images()
    settings = BuildSettings(count=10, layout=(2, 4, 1), convention=convention, chunk=4, fit=SETTINGS.fit)
    built = build_inr_zoo(tmp_path / "zoo", source, settings)
    assert (built.fitted, built.resumed, built.nonfinite) == (10, 0, 0)
    zoo = Zoo.open(tmp_path / "zoo")
    assert zoo.verify() == []
    assert zoo.manifest["splits"] == {"train": 6, "val": 2, "test": 2}
    assert [shard["count"] for shard in zoo.manifest["shards"]] == [4, 4, 2]
    assert zoo.manifest["provenance"]["images"] == {"source": "noise", "sha256": source.sha256}
    assert zoo.table.column_names == ["id", "label", "split", "image", "psnr", "mse", "steps"]
    assert built.network_steps == sum(zoo.table["steps"].to_pylist())
    rows = zoo.table["image"].to_pylist()
    shown, batch = zoo.images(range(10)), zoo.batch(range(10))
    assert shown is not None
    low, high = (0, 1) if convention == "dws" else (-1, 1)
    torch.testing.assert_close(shown, source.images[rows] / 255 * (high - low) + low)
    assert zoo.labels(range(10)).tolist() == [row % 3 for row in rows]
    drawn = realise(batch, coordinates(3, 4, convention)).view_as(shown)
    mse = torch.tensor(zoo.table["mse"].to_pylist())
    torch.testing.assert_close((drawn - shown).square().mean((1, 2, 3)), mse, rtol=1e-4, atol=1e-7)
    assert not (tmp_path / "zoo/unfinished").exists()


@pytest.mark.parametrize("chunks", [0, 1, 2])
def test_an_interrupted_build_ends_with_the_same_bytes(tmp_path: Path, chunks: int) -> None:
    build_inr_zoo(tmp_path / "whole", images(), SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        build_inr_zoo(tmp_path / "zoo", images(), SETTINGS, command="THE COMMAND", progress=interrupt_after(chunks))
    with pytest.raises(ValueError, match="is unfinished; go on with: THE COMMAND"):
        Zoo.open(tmp_path / "zoo")
    (tmp_path / "zoo/shards").mkdir(exist_ok=True)
    (tmp_path / "zoo/shards/.networks-00002.1.safetensors").write_bytes(b"left by a kill")
    built = build_inr_zoo(tmp_path / "zoo", images(), SETTINGS)
    assert (built.fitted, built.resumed) == (10 - chunks * 4, chunks * 4)
    assert content(tmp_path / "zoo") == content(tmp_path / "whole")


def test_every_moment_of_death_is_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Die at the n-th file for every n: the next run finishes with the same bytes."""
    settings = BuildSettings(count=3, layout=(2, 3, 1), chunk=2, fit=FitSettings(steps=2))
    build_inr_zoo(tmp_path / "whole", images(), settings)

    for death in range(6):
        left = death
        write = building.write_tensors

        def dying(*arguments: object, write: object = write) -> None:
            nonlocal left
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
            write(*arguments)  # type: ignore[operator]

        folder = tmp_path / str(death)
        with monkeypatch.context() as patch:
            patch.setattr(building, "write_tensors", dying)
            with pytest.raises(KeyboardInterrupt):
                build_inr_zoo(folder, images(), settings)
        build_inr_zoo(folder, images(), settings)
        assert content(folder) == content(tmp_path / "whole")


def test_a_finished_zoo_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_inr_zoo(tmp_path, images(), SETTINGS)
    monkeypatch.setattr(building, "_FitChunk", None)
    assert build_inr_zoo(tmp_path, images(), SETTINGS) == Built(0, 10, 0, 0)


def test_a_damaged_chunk_is_fitted_again(tmp_path: Path) -> None:
    build_inr_zoo(tmp_path / "whole", images(), SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        build_inr_zoo(tmp_path / "zoo", images(), SETTINGS, progress=interrupt_after(2))
    shard = tmp_path / "zoo/shards/networks-00000.safetensors"
    shard.write_bytes(shard.read_bytes()[:50])
    assert build_inr_zoo(tmp_path / "zoo", images(), SETTINGS).resumed == 4
    assert content(tmp_path / "zoo") == content(tmp_path / "whole")


@pytest.mark.parametrize("finished", [True, False])
def test_another_command_on_the_same_folder_is_refused(tmp_path: Path, finished: bool) -> None:
    if finished:
        build_inr_zoo(tmp_path, images(), SETTINGS)
    else:
        with pytest.raises(KeyboardInterrupt):
            build_inr_zoo(tmp_path, images(), SETTINGS, progress=interrupt_after(1))
    before = content(tmp_path)
    other = BuildSettings(count=10, layout=(2, 4, 1), chunk=4, seed=1, fit=FitSettings(steps=26, learning_rate=1e-2))
    with pytest.raises(ValueError, match=r"another command: seed is 0 there and 1 here; steps is 25 there and 26 here"):
        build_inr_zoo(tmp_path, images(), other)
    with pytest.raises(ValueError, match="another command: images is"):
        build_inr_zoo(tmp_path, images(13), SETTINGS)
    assert content(tmp_path) == before


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("dear")
    with pytest.raises(FileExistsError, match="exists and is no zoo"):
        build_inr_zoo(tmp_path, images(), SETTINGS)
    with pytest.raises(OSError, match=r"thesis\.tex"):
        build_inr_zoo(tmp_path / "thesis.tex" / "zoo", images(), SETTINGS)


def test_bad_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 1, found 0 and 256"):
        BuildSettings(count=0)
    with pytest.raises(ValueError, match="noise has 1 channel.*2,4,3 ends in 3"):
        build_inr_zoo(tmp_path / "zoo", images(), BuildSettings(count=3, layout=(2, 4, 3)))
    assert not (tmp_path / "zoo").exists()


def test_diverged_networks_are_counted(tmp_path: Path) -> None:
    settings = BuildSettings(count=4, layout=(2, 4, 1), fit=FitSettings(steps=3, learning_rate=1e30))
    built = build_inr_zoo(tmp_path, images(), settings)
    assert built.nonfinite == 4
    with pytest.raises(ValueError, match="4 of 4 networks have NaN"):
        Zoo.open(tmp_path).stack(range(4))


def test_starts_and_splits_follow_the_seed_and_chunks_differ(tmp_path: Path) -> None:
    for seed in (0, 1):
        settings = BuildSettings(count=8, layout=(2, 4, 1), seed=seed, chunk=4, fit=FitSettings(steps=0))
        build_inr_zoo(tmp_path / str(seed), images(), settings)
    (_, zero), (_, one) = (Zoo.open(tmp_path / str(seed)).stack(range(8)) for seed in (0, 1))
    assert len(torch.cat([zero, one]).flatten(1).unique(dim=0)) == 16


@pytest.mark.slow
def test_sigkill_and_resume(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from graphws.cli import main; raise SystemExit(main())", "zoo", "build", "inr"]
    command += ["--images", "digits", "--count", "96", "--layout", "2,16,16,1", "--chunk", "16", "--steps", "400"]
    subprocess.run([*command, "--out", str(tmp_path / "whole")], check=True, capture_output=True)
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path / "zoo")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while len(list(tmp_path.glob("zoo/shards/networks-*"))) < 2 and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert not (tmp_path / "zoo/manifest.json").exists()
    done = subprocess.run([*command, "--out", str(tmp_path / "zoo")], check=True, capture_output=True, text=True)
    assert "found fitted" in done.stdout
    assert content(tmp_path / "zoo") == content(tmp_path / "whole")
