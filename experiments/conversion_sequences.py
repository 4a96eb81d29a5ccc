"""Networks of the conversion table that read sounds, texts and sets of points."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["SEQUENCES"]


class PANN(nn.Module):
    """An audio network: a norm of mel bands, blocks of convolutions, mean and maximum over time."""

    def __init__(self, width: float) -> None:
        super().__init__()
        sizes = [1, *(max(4, int(n * width)) for n in (64, 128, 256))]
        self.bands = nn.BatchNorm2d(64)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(a, b, 3, 1, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU(), nn.Conv2d(b, b, 3, 1, 1), nn.ReLU()
            )
            for a, b in pairwise(sizes)
        )
        self.one, self.last = nn.Linear(sizes[-1], sizes[-1]), nn.Linear(sizes[-1], 527)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bands(x.transpose(1, 3)).transpose(1, 3)
        for block in self.blocks:
            x = F.avg_pool2d(block(x), 2)
        x = x.mean(3)
        x = x.max(2)[0] + x.mean(2)
        return torch.sigmoid(self.last(F.relu(self.one(x))))


class FrameNet(nn.Module):
    """A waveform cut into overlapping frames under a window, then convolutions along time."""

    def __init__(self, width: float) -> None:
        super().__init__()
        size = max(4, int(128 * width))
        self.window = nn.Parameter(torch.hann_window(256))
        self.basis = nn.Linear(256, size, bias=False)
        self.layers = nn.Sequential(
            nn.Conv1d(size, size, 3, padding=1), nn.GroupNorm(1, size), nn.PReLU(), nn.Conv1d(size, 8, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        frames = x.unfold(1, 256, 128) * self.window
        return self.layers(self.basis(frames).abs().add(1e-3).log().transpose(1, 2))


class WaveNet(nn.Module):
    """Dilated convolutions with gates, shortcuts and a sum of what each gives."""

    def __init__(self, width: float) -> None:
        super().__init__()
        size = max(4, int(64 * width))
        self.first = nn.Conv1d(1, size, 1)
        self.gates = nn.ModuleList(nn.Conv1d(size, 2 * size, 2, dilation=2**i) for i in range(8))
        self.more = nn.ModuleList(nn.Conv1d(size, size, 1) for _ in range(8))
        self.out = nn.ModuleList(nn.Conv1d(size, size, 1) for _ in range(8))
        self.last = nn.Sequential(nn.ReLU(), nn.Conv1d(size, size, 1), nn.ReLU(), nn.Conv1d(size, 256, 1))

    def forward(self, x: Tensor) -> Tensor:
        x, total = self.first(x.unsqueeze(1)), 0
        for i, gates in enumerate(self.gates):
            value, gate = gates(F.pad(x, (2**i, 0))).chunk(2, 1)
            y = torch.tanh(value) * torch.sigmoid(gate)
            total = total + self.out[i](y)
            x = x + self.more[i](y)
        return self.last(total)


class TextRecogniser(nn.Module):
    """A CRNN without its recurrent part: columns of features become steps in time."""

    def __init__(self, width: float) -> None:
        super().__init__()
        a, b = (max(4, int(n * width)) for n in (64, 128))
        self.layers = nn.Sequential(
            *(
                nn.Conv2d(1, a, 3, 1, 1),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(a, b, 3, 1, 1),
                nn.BatchNorm2d(b),
                nn.ReLU(),
            ),
            nn.MaxPool2d((2, 1)),
        )
        self.to_steps, self.last = nn.Linear(b * 8, 2 * b), nn.Linear(2 * b, 37)

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers(x)
        y = y.permute(0, 3, 1, 2).flatten(2)
        return self.last(F.relu(self.to_steps(y))).log_softmax(2).permute(1, 0, 2)


class TextCNN(nn.Module):
    """Embedded words, convolutions of several widths, the largest over the text."""

    def __init__(self, width: float) -> None:
        super().__init__()
        size = max(4, int(100 * width))
        self.words = nn.Embedding(5000, 3 * size, padding_idx=0)
        self.convs = nn.ModuleList(nn.Conv2d(1, size, (k, 3 * size)) for k in (3, 4, 5))
        self.last = nn.Linear(3 * size, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.words(x).unsqueeze(1)
        found = [F.relu(conv(y)).squeeze(3) for conv in self.convs]
        return self.last(torch.cat([F.max_pool1d(z, z.size(2)).squeeze(2) for z in found], 1))


class CharCNN(nn.Module):
    """One-hot characters as channels."""

    def __init__(self, width: float) -> None:
        super().__init__()
        size = max(4, int(256 * width))
        self.layers = nn.Sequential(
            *(nn.Conv1d(70, size, 7), nn.ReLU(), nn.MaxPool1d(3), nn.Conv1d(size, size, 7), nn.ReLU(), nn.MaxPool1d(3)),
            *(nn.Conv1d(size, size, 3), nn.ReLU(), nn.AdaptiveMaxPool1d(4), nn.Flatten(), nn.Linear(4 * size, 4)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(F.one_hot(x, 70).transpose(1, 2).to(self.layers[0].weight.dtype))


class Columns(nn.Module):
    """A table of categories, one embedding per column."""

    def __init__(self, width: float) -> None:
        super().__init__()
        counts, sizes = (10, 24, 7), (5, 12, 4)
        self.tables = nn.ModuleList(nn.Embedding(n, size) for n, size in zip(counts, sizes, strict=True))
        inner = max(4, int(200 * width))
        self.layers = nn.Sequential(
            nn.BatchNorm1d(21), nn.Linear(21, inner), nn.ReLU(), nn.BatchNorm1d(inner), nn.Linear(inner, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(torch.cat([table(x[:, i]) for i, table in enumerate(self.tables)], 1))


class DeepSets(nn.Module):
    """Each element less the largest of all, then a mean."""

    def __init__(self, width: float) -> None:
        super().__init__()
        size = max(4, int(256 * width))
        sizes = [3, size, size, size]
        self.own, self.all = (nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes)) for _ in range(2))
        self.last = nn.Sequential(nn.Linear(size, size), nn.Tanh(), nn.Linear(size, 40))

    def forward(self, x: Tensor) -> Tensor:
        for own, every in zip(self.own, self.all, strict=True):
            x = torch.tanh(own(x) - every(x.max(1, keepdim=True)[0]))
        return self.last(x.mean(1))


class PointNet(nn.Module):
    """Points one by one, the largest of each feature over all, which joins every point for its label."""

    def __init__(self, width: float) -> None:
        super().__init__()
        a, b, c = (max(4, int(n * width)) for n in (64, 128, 1024))
        self.first = nn.Sequential(nn.Conv1d(3, a, 1), nn.BatchNorm1d(a), nn.ReLU())
        self.more = nn.Sequential(
            nn.Conv1d(a, b, 1), nn.BatchNorm1d(b), nn.ReLU(), nn.Conv1d(b, c, 1), nn.BatchNorm1d(c)
        )
        self.last = nn.Sequential(nn.Conv1d(a + c, b, 1), nn.BatchNorm1d(b), nn.ReLU(), nn.Conv1d(b, 50, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x.transpose(1, 2))
        largest = torch.max(self.more(y), 2, keepdim=True)[0].view(len(x), -1, 1).repeat(1, 1, x.size(1))
        return self.last(torch.cat([largest, y], 1)).transpose(2, 1).log_softmax(-1)


SEQUENCES: dict[str, tuple[Callable[[float], nn.Module], tuple[int, ...], int]] = {
    "audio CNN (PANN)": (PANN, (1, 96, 64), 0),
    "frames of a waveform": (FrameNet, (4096,), 0),
    "WaveNet": (WaveNet, (300,), 0),
    "CRNN without its recurrent part": (TextRecogniser, (1, 32, 100), 0),
    "TextCNN": (TextCNN, (20,), 5000),
    "CharCNN": (CharCNN, (128,), 70),
    "embedded categories": (Columns, (3,), 7),
    "DeepSets": (DeepSets, (20, 3), 0),
    "PointNet with labels of points": (PointNet, (50, 3), 0),
}
