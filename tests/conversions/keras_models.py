"""Small Keras models of every kind of layer, built with Keras itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers as L


def _sequential(shape: tuple[int | None, ...], *layers: Any) -> Any:
    return keras.Sequential([L.Input(shape), *layers])


def lenet() -> Any:
    return _sequential(
        (12, 12, 2),
        L.Conv2D(6, 3, activation="relu"),
        L.MaxPooling2D(),
        L.Conv2D(8, (3, 2), activation="tanh", padding="same"),
        L.Flatten(),
        L.Dense(10, activation="gelu"),
        L.Dense(3, activation="softmax"),
    )


def strided() -> Any:
    """Same-padding of which the two sides differ."""
    return _sequential(
        (11, 10, 3),
        L.Conv2D(4, 3, strides=2, padding="same", use_bias=False),
        L.BatchNormalization(),
        L.ReLU(6.0),
        L.Conv2D(6, 4, strides=2, padding="same", activation=L.LeakyReLU(0.1)),
        L.MaxPooling2D(3, 2, padding="same"),
        L.AveragePooling2D(3, 1, padding="same"),
        L.GlobalAveragePooling2D(),
        L.Dense(4),
    )


def mobile() -> Any:
    x = inputs = L.Input((16, 16, 3))
    x = L.Conv2D(8, 3, 2)(L.ZeroPadding2D(((0, 1), (0, 1)))(x))
    x = L.Activation("relu6")(L.BatchNormalization()(x))
    y = L.BatchNormalization()(L.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(x))
    x = L.Add()([x, L.Conv2D(8, 1)(y)])
    x = L.SeparableConv2D(12, 3, strides=2, padding="same", activation="swish")(x)
    return keras.Model(inputs, L.Dense(5)(L.Dropout(0.5)(L.GlobalMaxPooling2D()(x))))


def unet() -> Any:
    inputs = L.Input((16, 16, 2))
    high = L.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    low = L.Conv2D(6, 3, padding="same", activation="relu")(L.MaxPooling2D()(high))
    up = L.Conv2DTranspose(4, 2, strides=2, activation="relu")(low)
    joined = L.Concatenate()([high, up, L.UpSampling2D(interpolation="bilinear")(low)])
    return keras.Model(inputs, L.Conv2D(1, 1)(joined))


def transposed() -> Any:
    return _sequential(
        (5, 5, 3),
        L.Conv2DTranspose(4, 3, strides=2, padding="same", activation="elu"),
        L.Conv2DTranspose(5, 2, strides=3, padding="same"),
        L.Conv2DTranspose(2, 4, strides=2, padding="same"),
        L.Conv2DTranspose(3, 3, 2, output_padding=1),
        L.Cropping2D(((1, 2), (0, 1))),
        L.GlobalAveragePooling2D(),
        L.Dense(2),
    )


def norms() -> Any:
    x = inputs = L.Input((6, 6, 3))
    x = L.GroupNormalization(4)(L.LayerNormalization()(L.Conv2D(8, 3)(x)))
    x = L.LayerNormalization(axis=[1, 2, 3])(L.Conv2D(8, 3, groups=2)(x))
    x = L.PReLU()(L.PReLU(shared_axes=[1, 2])(x))
    return keras.Model(inputs, L.Dense(3)(L.Flatten()(x)))


def perceptron() -> Any:
    scaled = L.Normalization()
    scaled.adapt(np.random.default_rng(0).normal(1.0, 3.0, (50, 4)).astype("float32"))
    return _sequential((4,), scaled, L.Dense(6, activation="sigmoid"), L.Dense(7, activation="tanh"), L.Dense(1))


def residual() -> Any:
    """Residual sums, a gate by channel, two outputs."""
    x = inputs = L.Input((8, 8, 3))
    x = L.BatchNormalization()(L.Conv2D(6, 3, padding="same")(L.Rescaling(1 / 127.5, -1.0)(x)))
    y = L.BatchNormalization()(L.Conv2D(6, 3, padding="same", activation="relu")(x))
    x = L.Activation("relu")(L.Add()([y, x]))
    gate = L.Conv2D(6, 1, activation="sigmoid")(L.GlobalAveragePooling2D(keepdims=True)(x))
    x = L.Flatten()(L.AveragePooling2D(2)(L.Subtract()([x, L.Multiply()([x, gate])])))
    return keras.Model(inputs, [L.Dense(2)(x), L.Dense(3)(x)])


def sequence() -> Any:
    return _sequential(
        (20, 3),
        L.Conv1D(5, 3, padding="causal", dilation_rate=2, activation="relu"),
        L.SeparableConv1D(6, 3, padding="same"),
        L.MaxPooling1D(),
        L.ZeroPadding1D(1),
        L.DepthwiseConv1D(3),
        L.Conv1DTranspose(4, 3, strides=2),
        L.UpSampling1D(2),
        L.Cropping1D(1),
        L.GlobalAveragePooling1D(),
        L.Dense(2),
    )


def volume() -> Any:
    return _sequential(
        (6, 6, 6, 2),
        L.Conv3D(4, 3, padding="same"),
        L.BatchNormalization(),
        L.MaxPooling3D(),
        L.Conv3DTranspose(3, 2, strides=2),
        L.AveragePooling3D(2),
        L.Flatten(),
        L.Dense(2),
    )


def nested() -> Any:
    """Models in a model, layers of the same name in both, and operations on tensors."""
    base = keras.Sequential([L.Input((8, 8, 3)), L.Conv2D(4, 3, name="first"), L.BatchNormalization()], name="base")
    base.trainable = False
    head = keras.Sequential([L.Input((144,)), L.Dense(5, activation="relu", name="first"), L.Dense(2)], name="head")
    inputs = L.Input((8, 8, 3))
    return keras.Model(inputs, head(L.Flatten()(base(inputs))) * 2.0 + 1.0)


def shared() -> Any:
    """One layer used twice."""
    inputs, layer = L.Input((6,)), L.Dense(6, activation="tanh")
    return keras.Model(inputs, L.Dense(2)(layer(layer(inputs))))


def channels_first() -> Any:
    first = {"data_format": "channels_first"}
    return _sequential(
        (3, 9, 9),
        L.Conv2D(4, 3, strides=2, padding="same", activation="relu", **first),
        L.BatchNormalization(axis=1),
        L.MaxPooling2D(**first),
        L.DepthwiseConv2D(2, **first),
        L.Flatten(**first),
        L.Dense(3),
    )


def any_size() -> Any:
    x = L.Conv2D(4, 3, strides=2, padding="same")(inputs := L.Input((None, None, 3)))
    return keras.Model(inputs, L.Dense(2)(L.GlobalAveragePooling2D()(x)))


def generator() -> Any:
    return _sequential(
        (6,),
        L.Dense(48, activation="relu"),
        L.Reshape((4, -1, 3)),
        L.Conv2DTranspose(5, 4, strides=2, padding="same"),
        L.Conv2D(1, 1),
    )


def narrow() -> Any:
    """Kernels of one row or one column; axes that are permuted."""
    return _sequential((1,), L.Dense(5, activation="relu"), L.Dense(1), L.Dense(4), L.Dense(2))


def permuted() -> Any:
    return _sequential((4, 5, 3), L.Conv2D(6, 2), L.Permute((3, 1, 2)), L.Flatten(), L.Dense(4))


def two_inputs() -> Any:
    """A signal and a vector, joined late; two outputs."""
    signal, vector = L.Input((12, 2), name="signal"), L.Input((3,), name="vector")
    x = L.Conv1D(6, 3, padding="causal", activation="relu")(signal)
    x = L.GlobalAveragePooling1D()(x)
    joined = L.Concatenate()([x, L.Dense(5, activation="tanh")(vector)])
    return keras.Model([signal, vector], [L.Dense(4)(joined), L.Dense(2, activation="softmax")(joined)])


def inner_of_two() -> Any:
    """A model of two inputs in another."""
    first, second = L.Input((6,)), L.Input((6,))
    inner = keras.Model([first, second], L.Add()([L.Dense(5)(first), L.Dense(5)(second)]))
    inputs = L.Input((4,))
    x = L.Dense(6, activation="relu")(inputs)
    return keras.Model(inputs, L.Dense(3)(inner([x, L.Dense(6)(x)])))


def timed() -> Any:
    """The same layers at each time."""
    return _sequential(
        (5, 8, 8, 2),
        L.TimeDistributed(L.Conv2D(4, 3, activation="relu")),
        L.TimeDistributed(L.GlobalAveragePooling2D()),
        L.TimeDistributed(L.Dense(6, activation="relu")),
        L.Conv1D(3, 2),
    )


def merges() -> Any:
    inputs = L.Input((9, 9, 2))
    a, b, c = (L.Conv2D(4, 3, activation="relu")(inputs) for _ in range(3))
    x = L.Minimum()([L.Maximum()([a, b]), c])
    x = L.Average()([x, L.Subtract()([a, L.Multiply()([b, c])])])
    x = L.Cropping2D(((1, 0), (0, 2)))(L.ZeroPadding2D(1)(L.UpSampling2D(2)(x)))
    return keras.Model(inputs, L.Dense(3)(L.GlobalMaxPooling2D()(L.SeparableConv2D(5, 2)(x))))


def repeated() -> Any:
    return _sequential(
        (4,), L.Dense(6, activation="elu"), L.RepeatVector(5), L.Conv1D(3, 2), L.GlobalAveragePooling1D()
    )


MODELS: dict[str, Callable[[], Any]] = {
    build.__name__: build
    for build in (
        lenet, strided, mobile, unet, transposed, norms, perceptron, residual, sequence, volume, nested, shared,
        channels_first, any_size, generator, narrow, permuted, two_inputs, inner_of_two, timed, merges, repeated,
    )
}  # fmt: skip
