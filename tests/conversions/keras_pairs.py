"""Keras models, each beside a torch module of the same network written by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import torch
from keras import layers as L
from torch import Tensor, nn


@dataclass(frozen=True)
class Pair:
    """One network twice.

    Args:
        keras, torch: What makes it.
        shape: The shape of one input of the torch module.
        first: Whether its channels are first, where Keras' are last.
        assumed: What a note on a guess must say; empty where nothing is guessed.
        refused: What is said of the ``.weights.h5`` file, which is refused; empty where it is read.
    """

    keras: Callable[[], Any]
    torch: Callable[[], nn.Module]
    shape: tuple[int, ...]
    first: bool = True
    assumed: str = ""
    refused: str = ""

    def to_keras(self, x: Tensor) -> Tensor:
        return x.movedim(1, -1) if self.first else x


def _model(shape: tuple[int, ...], *layers: Any) -> Any:
    return keras.Sequential([L.Input(shape), *layers])


class Net(nn.Module):
    """Layers by name, and a forward that uses them."""

    def __init__(self, forward: Callable[[Any, Tensor], Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.run = forward
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def _norm(size: int, spatial: int = 2) -> nn.Module:
    return (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[spatial - 1](size, eps=1e-3)


def _branches() -> Any:
    x = L.Input((6,))
    a, b = L.Dense(5, activation="relu", name="left")(x), L.Dense(5, activation="tanh", name="right")(x)
    return keras.Model(x, L.Dense(2)(L.Concatenate()([a, b])))


def _towers() -> Any:
    x = L.Input((6,))
    a, b = L.Dense(4)(x), L.Dense(7)(x)
    a, b = L.Dense(5)(L.Dense(3)(a)), L.Dense(5)(L.Dense(3)(b))
    return keras.Model(x, L.Dense(2)(L.Concatenate()([a, b])))


def _towers_forward(m: Any, x: Tensor) -> Tensor:
    return m.out(torch.cat([m.a3(m.a2(m.a1(x))), m.b3(m.b2(m.b1(x)))], 1))


def _two_flattens() -> Any:
    x = L.Input((8, 8, 2))
    a, b = L.Flatten()(L.Conv2D(3, 3)(x)), L.Flatten()(L.Conv2D(4, 3, strides=2)(x))
    return keras.Model(x, L.Dense(2)(L.Concatenate()([a, b])))


def _gated() -> Any:
    x = inputs = L.Input((8, 8, 3))
    x = L.Conv2D(4, 3, padding="same")(x)
    gate = L.Dense(4, activation="sigmoid")(L.Dense(2, activation="relu")(L.GlobalAveragePooling2D()(x)))
    x = L.Multiply()([x, L.Reshape((1, 1, 4))(gate)])
    x = L.Add()([x, L.Conv2D(4, 3, padding="same")(x)])
    return keras.Model(inputs, L.Dense(3)(L.Flatten()(x)))


def _gated_forward(m: Any, x: Tensor) -> Tensor:
    x = m.stem(x)
    gate = torch.sigmoid(m.up(torch.relu(m.down(x.mean((2, 3))))))
    x = x * gate.view(x.size(0), 4, 1, 1).expand_as(x)
    return m.head(torch.flatten(x + m.body(x), 1))


def _unet() -> Any:
    inputs = L.Input((8, 8, 2))
    high = L.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    low = L.Conv2D(4, 3, padding="same", activation="relu")(L.MaxPooling2D()(high))
    joined = L.Concatenate()([high, L.Conv2DTranspose(4, 2, strides=2)(low)])
    return keras.Model(inputs, L.Dense(3)(L.Flatten()(L.Conv2D(2, 1)(joined))))


def _unet_forward(m: Any, x: Tensor) -> Tensor:
    high = torch.relu(m.enc1(x))
    up = m.up(torch.relu(m.enc2(torch.nn.functional.max_pool2d(high, 2))))
    return m.head(m.out(torch.cat([high, up], 1)).flatten(1))


def _tied() -> Any:
    x, layer = L.Input((6,)), L.Dense(6, activation="tanh")
    return keras.Model(x, L.Dense(2)(layer(layer(x))))


def _frames() -> Any:
    part = _model((8, 8, 3), L.Conv2D(4, 3), L.Flatten(), L.Dense(5))
    return _model((2, 8, 8, 3), L.TimeDistributed(part), L.Flatten(), L.Dense(2))


def _frames_forward(m: Any, x: Tensor) -> Tensor:
    b, t = x.shape[:2]
    y = m.fc(m.conv(x.flatten(0, 1).permute(0, 3, 1, 2)).flatten(1))
    return m.out(y.view(b, t * 5))


def _nested() -> Any:
    body = _model((8, 8, 3), L.Conv2D(4, 3, activation="relu"), L.BatchNormalization(), L.Conv2D(4, 3))
    return _model((8, 8, 3), body, L.Flatten(), L.Dense(4, activation="relu"), L.Dense(4))


def _twins() -> Any:
    body = _model((6,), L.Dense(6, activation="tanh"), L.Dense(6))
    return _model((6,), L.Dense(6, activation="tanh"), body, L.Dense(6))


def _conv_bn() -> Any:
    return _model((9, 9, 2), L.Conv2D(6, 3), L.BatchNormalization(), L.ReLU(), L.Flatten(), L.Dense(5))


def _permuted(m: Any, x: Tensor) -> Tensor:
    return m.fc(torch.relu(m.norm(m.conv(x))).permute(0, 2, 3, 1).reshape(x.size(0), -1))


def _generator_forward(m: Any, x: Tensor) -> Tensor:
    return m.up(m.fc(x).view(-1, 4, 4, 3).permute(0, 3, 1, 2)).mean((2, 3))


LAST = "channels come last"
SIDE = "side by side"

PAIRS: dict[str, Pair] = {
    "dense": Pair(
        lambda: _model((4,), L.Dense(7, activation="relu"), L.Dense(7, activation="tanh"), L.Dense(7), L.Dense(2)),
        lambda: nn.Sequential(
            nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 7), nn.Tanh(), nn.Linear(7, 7), nn.Linear(7, 2)
        ),
        (4,),
    ),
    "twelve of one shape": Pair(
        lambda: _model((4,), *[L.Dense(4, activation="tanh") for _ in range(12)]),
        lambda: nn.Sequential(*[part for _ in range(12) for part in (nn.Linear(4, 4), nn.Tanh())]),
        (4,),
    ),
    "defined in another order than used": Pair(
        lambda: _model((6,), L.Dense(6, activation="tanh"), L.Dense(6, activation="relu"), L.Dense(6)),
        lambda: Net(
            lambda m, x: m.c(torch.relu(m.b(torch.tanh(m.a(x))))),
            c=nn.Linear(6, 6),
            b=nn.Linear(6, 6),
            a=nn.Linear(6, 6),
        ),
        (6,),
    ),
    "branches of names": Pair(
        _branches,
        lambda: Net(
            lambda m, x: m.o(torch.cat([torch.relu(m.left(x)), torch.tanh(m.right(x))], 1)),
            right=nn.Linear(6, 5),
            left=nn.Linear(6, 5),
            o=nn.Linear(10, 2),
        ),
        (6,),
    ),
    "towers": Pair(
        _towers,
        lambda: Net(
            _towers_forward,
            a1=nn.Linear(6, 4),
            b1=nn.Linear(6, 7),
            a2=nn.Linear(4, 3),
            b2=nn.Linear(7, 3),
            a3=nn.Linear(3, 5),
            b3=nn.Linear(3, 5),
            out=nn.Linear(10, 2),
        ),
        (6,),
        assumed=SIDE,
    ),
    "flattened": Pair(
        _conv_bn,
        lambda: nn.Sequential(nn.Conv2d(2, 6, 3), _norm(6), nn.ReLU(), nn.Flatten(), nn.Linear(294, 5)),
        (2, 9, 9),
        assumed=LAST,
    ),
    "flattened with channels last": Pair(
        _conv_bn, lambda: Net(_permuted, conv=nn.Conv2d(2, 6, 3), norm=_norm(6), fc=nn.Linear(294, 5)), (2, 9, 9)
    ),
    "channels last on the way in": Pair(
        _conv_bn,
        lambda: Net(
            lambda m, x: _permuted(m, x.permute(0, 3, 1, 2)),
            conv=nn.Conv2d(2, 6, 3),
            norm=_norm(6),
            fc=nn.Linear(294, 5),
        ),
        (9, 9, 2),
        first=False,
    ),
    "two flattens": Pair(
        _two_flattens,
        lambda: Net(
            lambda m, x: m.o(torch.cat([m.a(x).flatten(1), m.b(x).reshape(x.size(0), -1)], 1)),
            a=nn.Conv2d(2, 3, 3),
            b=nn.Conv2d(2, 4, 3, 2),
            o=nn.Linear(144, 2),
        ),
        (2, 8, 8),
        assumed=LAST,
    ),
    "norm behind a flatten": Pair(
        lambda: _model(
            (8, 8, 2),
            L.Conv2D(3, 3),
            L.Flatten(),
            L.BatchNormalization(),
            L.Dense(4),
            L.LayerNormalization(),
            L.PReLU(),
        ),
        lambda: nn.Sequential(
            nn.Conv2d(2, 3, 3), nn.Flatten(), _norm(108, 1), nn.Linear(108, 4), nn.LayerNorm(4, eps=1e-3), nn.PReLU(4)
        ),
        (2, 8, 8),
        assumed=LAST,
    ),
    "depthwise and separable": Pair(
        lambda: _model(
            (9, 9, 4),
            L.DepthwiseConv2D(3, depth_multiplier=2),
            L.BatchNormalization(),
            L.PReLU(shared_axes=[1, 2]),
            L.SeparableConv2D(5, 3),
            L.GlobalAveragePooling2D(),
        ),
        lambda: nn.Sequential(
            nn.Conv2d(4, 8, 3, groups=4), _norm(8), nn.PReLU(8), nn.Conv2d(8, 8, 3, groups=8, bias=False),
            nn.Conv2d(8, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        ),
        (4, 9, 9),
    ),
    "one dimension": Pair(
        lambda: _model((20, 3), L.Conv1D(5, 3), L.Conv1D(5, 3), L.MaxPooling1D(), L.Flatten(), L.Dense(4)),
        lambda: nn.Sequential(
            nn.Conv1d(3, 5, 3), nn.Conv1d(5, 5, 3), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(40, 4)
        ),
        (3, 20),
        assumed=LAST,
    ),
    "three dimensions": Pair(
        lambda: _model(
            (4, 4, 4, 2), L.Conv3D(5, 3, padding="same"), L.BatchNormalization(), L.Conv3DTranspose(3, 2, strides=2),
            L.Flatten(), L.Dense(4),
        ),
        lambda: nn.Sequential(
            nn.Conv3d(2, 5, 3, padding=1), _norm(5, 3), nn.ConvTranspose3d(5, 3, 2, 2), nn.Flatten(),
            nn.Linear(3 * 8**3, 4),
        ),
        (2, 4, 4, 4),
        assumed=LAST,
    ),
    "groups": Pair(
        lambda: _model((8, 8, 4), L.Conv2D(8, 3, groups=2), L.GroupNormalization(4), L.GlobalAveragePooling2D()),
        lambda: nn.Sequential(
            nn.Conv2d(4, 8, 3, groups=2), nn.GroupNorm(4, 8, eps=1e-3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        ),
        (4, 8, 8),
    ),
    "gated": Pair(
        _gated,
        lambda: Net(
            _gated_forward,
            stem=nn.Conv2d(3, 4, 3, padding=1),
            down=nn.Linear(4, 2),
            up=nn.Linear(2, 4),
            body=nn.Conv2d(4, 4, 3, padding=1),
            head=nn.Linear(256, 3),
        ),
        (3, 8, 8),
        assumed=LAST,
    ),
    "unet": Pair(
        _unet,
        lambda: Net(
            _unet_forward,
            enc1=nn.Conv2d(2, 4, 3, padding=1),
            enc2=nn.Conv2d(4, 4, 3, padding=1),
            up=nn.ConvTranspose2d(4, 4, 2, 2),
            out=nn.Conv2d(8, 2, 1),
            head=nn.Linear(128, 3),
        ),
        (2, 8, 8),
        assumed=LAST,
    ),
    "tied": Pair(
        _tied,
        lambda: Net(lambda m, x: m.o(torch.tanh(m.a(torch.tanh(m.a(x))))), a=nn.Linear(6, 6), o=nn.Linear(6, 2)),
        (6,),
    ),
    "at each time": Pair(
        lambda: _model(
            (5, 4),
            L.TimeDistributed(L.Dense(6, activation="relu")),
            L.TimeDistributed(L.Dense(6)),
            L.Flatten(),
            L.Dense(2),
        ),
        lambda: nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6), nn.Flatten(), nn.Linear(30, 2)),
        (5, 4),
        first=False,
    ),
    "at each time and not": Pair(
        lambda: _model((5, 6), L.Dense(6, activation="relu"), L.TimeDistributed(L.Dense(6)), L.Flatten(), L.Dense(2)),
        lambda: nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.Flatten(), nn.Linear(30, 2)),
        (5, 6),
        first=False,
        refused="does not tell the order of its layers 'layers/dense'",
    ),
    "a network at each time": Pair(
        _frames,
        lambda: Net(_frames_forward, conv=nn.Conv2d(3, 4, 3), fc=nn.Linear(144, 5), out=nn.Linear(10, 2)),
        (2, 8, 8, 3),
        first=False,
        assumed=LAST,
    ),
    "nested": Pair(
        _nested,
        lambda: Net(
            lambda m, x: m.out(torch.relu(m.fc(m.body(x).flatten(1)))),
            body=nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), _norm(4), nn.Conv2d(4, 4, 3)),
            fc=nn.Linear(64, 4),
            out=nn.Linear(4, 4),
        ),
        (3, 8, 8),
        assumed=LAST,
    ),
    "nested, all of one shape": Pair(
        _twins,
        lambda: nn.Sequential(
            nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.Linear(6, 6)
        ),
        (6,),
        assumed="the file does not tell their order",
        refused="does not tell the order of its layers",
    ),
    "a generator": Pair(
        lambda: _model(
            (5,), L.Dense(48), L.Reshape((4, 4, 3)), L.Conv2DTranspose(4, 3, strides=2), L.GlobalAveragePooling2D()
        ),
        lambda: Net(_generator_forward, fc=nn.Linear(5, 48), up=nn.ConvTranspose2d(3, 4, 3, 2)),
        (5,),
    ),
    "dense layers as convolutions": Pair(
        lambda: _model((4, 4, 3), L.Dense(8, activation="relu"), L.Conv2D(5, 1), L.GlobalMaxPooling2D()),
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 5, 1), nn.AdaptiveMaxPool2d(1), nn.Flatten()
        ),
        (3, 4, 4),
    ),
    "an epsilon of torch": Pair(
        lambda: _model((4,), L.Dense(5), L.BatchNormalization(epsilon=1e-5), L.Dense(2)),
        lambda: nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 2)),
        (4,),
        assumed="Keras' default is 0.001",
    ),
}  # fmt: skip
