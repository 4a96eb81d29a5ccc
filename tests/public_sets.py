"""Public sets of implicit neural representations in small: SIRENs fitted here, written as the authors' files are."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from graphws.zoo import FitSettings, convention_of, fit_images, siren_architecture

COUNT, HEIGHT, WIDTH = 24, 6, 9
LAYOUT = (2, 6, 6, 1)
LABELS = [(7 * i + 3) % 10 for i in range(COUNT)]
State = dict[str, Tensor]


def pictures(count: int = COUNT) -> Tensor:
    """Images [n, 6, 9, 1] in uint8, no two rows, columns or images alike."""
    rows, columns = torch.meshgrid(torch.arange(HEIGHT) / HEIGHT, torch.arange(WIDTH) / WIDTH, indexing="ij")
    shift = torch.arange(count).view(-1, 1, 1) / count
    values = 0.5 + 0.3 * torch.sin(2 * rows + 5 * shift) * torch.cos(3 * columns) + 0.15 * (columns - rows * shift)
    return (values.clamp(0, 1) * 255).round().byte().unsqueeze(-1)


@lru_cache
def fitted(convention: str) -> list[State]:
    """A SIREN a picture, with the keys of its convention."""
    chosen = convention_of(convention)
    arch = siren_architecture(LAYOUT, convention)
    settings = FitSettings(steps=600, learning_rate=3e-3, psnr=38)
    x, edges, _ = fit_images(chosen.to_pixels(pictures()), LAYOUT, convention, settings=settings)
    states = []
    for own_x, own_edges in zip(x[..., 0], edges[..., 0], strict=True):
        state = {}
        for spec in arch.tensors:
            values = (
                own_x[arch.node_slices[spec.index]] if spec.part == "bias" else own_edges[arch.edge_slices[spec.index]]
            )
            state[spec.key] = values.reshape(spec.shape).clone()
        states.append(state)
    return states


def drawn(state: State, convention: str) -> Tensor:
    """What a SIREN draws, [6, 9], by the published formulas in plain torch."""
    across, down = torch.linspace(-1, 1, WIDTH), torch.linspace(-1, 1, HEIGHT)
    if convention == "dws":  # column first, row second, + 0.5
        points = torch.stack([across.repeat(HEIGHT), down.repeat_interleave(WIDTH)], 1)
    else:  # row first
        points = torch.stack([down.repeat_interleave(WIDTH), across.repeat(HEIGHT)], 1)
    values = list(state.values())
    hidden = torch.sin(30 * (points @ values[0].T + values[1]))
    hidden = torch.sin(30 * (hidden @ values[2].T + values[3]))
    out = hidden @ values[4].T + values[5]
    return (out + 0.5 if convention == "dws" else out).view(HEIGHT, WIDTH)


def write_npz(path: Path, numbers: list[int], labels: list[int] | None = None) -> Path:
    np.savez(path, images=pictures().numpy(), labels=np.array(labels or LABELS), numbers=np.array(numbers))
    return path


def write_dws_mnist(folder: Path) -> list[int]:
    """16 training networks, 8 test ones, under mnist-inrs; the numbers of their images, test ones from 60000 on."""
    numbers = []
    for i, state in enumerate(fitted("dws")):
        part, index = ("training", 3 * i + 1) if i < 16 else ("testing", i)
        path = folder / "mnist-inrs" / f"mnist_png_{part}_{LABELS[i]}_{index}" / "checkpoints" / "model_final.pth"
        path.parent.mkdir(parents=True)
        torch.save(state, path)
        numbers.append(index + 60_000 * (part == "testing"))
    return numbers


def write_dws_fmnist(folder: Path, splits: bool = True) -> list[int]:
    """As published: numbers in the names, labels in the files, absolute paths of another machine in splits.json."""
    numbers, paths = [], {"train": [], "val": [], "test": []}  # type: ignore[var-annotated]
    root = folder / "fmnist_inrs"
    for i, state in enumerate(fitted("dws")):
        part, index = ("train", 100 - i) if i < 18 else ("test", i)
        (root / part).mkdir(parents=True, exist_ok=True)
        torch.save({**state, "label": LABELS[i]}, root / part / f"model_{index}.pth")
        split = "val" if 12 <= i < 18 else part
        paths[split].append(f"/home/somebody/data/fmnist_inrs/{part}/model_{index}.pth")
        numbers.append(index + 60_000 * (part == "test"))
    if splits:
        (root / "splits.json").write_text(json.dumps(paths))
    return numbers


def write_nfn(folder: Path, name: str = "mnist") -> list[int]:
    """Images on both sides of every end of the published splits, and two refits of training images."""
    numbers = [*range(44_988, 45_000), *range(49_994, 50_000), *range(50_000, 50_006)]
    root = folder / f"siren_{name}_wts"
    for i, state in enumerate(fitted("nfn")):
        for view in ("", *(("_aug0", "_aug1") if i < 2 else ())):
            path = root / f"randinit_smaller{view}_{LABELS[i]}s" / f"net{numbers[i]}.pth"
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save(state, path)
    return numbers
