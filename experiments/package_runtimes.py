"""What a trained file computes by its own runtime, and by its graph: one row of the table of package files."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

import conversions
from graphws.symmetry.permutations import permute
from graphws.types.graph import NetGraph

__all__ = ["Row", "listed", "measured", "measured_keras", "measured_onnx"]

RECURRENT = ("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM")
SIDES = {3: (256,), 4: (64, 64), 5: (16, 64, 64)}  # of open axes behind the second, by rank
SIZES = {  # of inputs that their files leave open, where the usual ones are no fit
    "320n.onnx": (320, 320),
    "ch_PP-OCRv4_rec_infer.onnx": (48, 128),
    "PP-OCRv6_rec_small.onnx": (48, 128),
    "spliceai1.h5": (10_100,),
    "spliceai2.h5": (10_100,),
    "spliceai3.h5": (10_100,),
    "spliceai4.h5": (10_100,),
    "spliceai5.h5": (10_100,),
    "common.onnx": (64,),
    "ch_ppocr_mobile_v2.0_cls_infer.onnx": (48, 192),
    "ch_ppocr_mobile_v2.0_cls_mobile.onnx": (48, 192),
}
HIGHEST = {"model.onnx": 256}  # of whole-number inputs; else 10
TOKENS = ("deepcut.onnx", "oskut-deepcut.onnx", "oskut-tl-deepcut-tnhc.onnx", "oskut-tl-deepcut-ws.onnx")  # as reals
Outputs = list[Tensor]


@dataclass
class Row:
    """What was found of one file.

    Args:
        kind: "network", "recurrent", "attention", "unknown" (nothing says what it computes) or "failed".
        reason: Why it is refused; empty where it is not.
        share: Of its parameters, what the graph represents.
        execute: Difference between graph and runtime.
        itself: Difference between the runtime and itself.
        permuted: Difference that a permuted state dict makes in the runtime.
        exact: Whether the state dict comes back bit for bit.
        seconds: To the graph.
        infinite: Whether it holds NaN or infinite constants, which were let through.
    """

    kind: str = "network"
    reason: str = ""
    share: float = 0.0
    execute: float = float("nan")
    itself: float = float("nan")
    permuted: float = float("nan")
    exact: bool = False
    seconds: float = 0.0
    infinite: bool = False


def difference(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """The largest difference of outputs, each relative to the largest entry."""
    if len(found) != len(expected) or any(a.shape != b.shape for a, b in zip(found, expected, strict=True)):
        return float("inf")
    errors = [
        float((a.double() - b.double()).abs().max() / b.double().abs().max().clamp_min(1e-30))
        for a, b in zip(found, expected, strict=True)
        if b.numel()
    ]
    return max(errors, default=0.0)


def listed(outputs: Any) -> Outputs:
    leaves = tree_leaves(list(outputs.values()) if isinstance(outputs, Mapping) else outputs)
    return [leaf for leaf in leaves if isinstance(leaf, Tensor)]


def measured(
    convert: Callable[[bool], NetGraph],
    inputs: Sequence[Tensor],
    state: Callable[[NetGraph], Mapping[str, Tensor]],
    runs: Callable[[Mapping[str, Tensor] | None], Sequence[Outputs]],
    kind: str = "network",
) -> Row:
    """A row.

    Args:
        convert: Makes the graph; told whether NaN and infinite constants are let through.
        inputs: Of the network.
        state: The tensors that the file holds.
        runs: The runtime's outputs, in each of its ways of running, with a state dict in place of the file's if given.
        kind: Of the file.
    """
    start = time.perf_counter()
    try:
        graph, infinite = _graph(convert)
    except (ValueError, OSError) as error:
        reason = str(error)
        if "of two signals" in reason and ("matmul" in reason or "bmm" in reason):
            kind = "attention"
        return Row(kind, reason.replace("|", "/"))
    seconds = time.perf_counter() - start
    back = conversions.to_state_dict(graph)
    held = state(graph)
    exact = all(name in back and _same(back[name], value) for name, value in held.items())
    first, *others = runs(None)
    with torch.no_grad():
        found = listed(conversions.execute(graph, *inputs))
    expected = first if len(found) == len(first) else _matching(found, first)
    moved = conversions.to_state_dict(permute(graph, generator=torch.Generator().manual_seed(1)))
    return Row(
        kind=kind,
        share=conversions.report(graph).share,
        execute=difference(found, expected),
        itself=max((difference(other, first) for other in others), default=0.0),
        permuted=difference(runs(moved)[0], first),
        exact=exact,
        seconds=seconds,
        infinite=infinite,
    )


def _graph(convert: Callable[[bool], NetGraph]) -> tuple[NetGraph, bool]:
    """The graph of a file, and whether NaN or infinite constants (as a maximum begins with) were let through."""
    try:
        return convert(False), False
    except ValueError as error:
        if "allow_nonfinite" not in str(error):
            raise
    return convert(True), True


def of_file(path: Path, inputs: Sequence[Tensor]) -> Callable[[bool], NetGraph]:
    """Makes the graph of a file that says its whole network."""
    example = inputs[0] if len(inputs) == 1 else tuple(inputs)
    return lambda allowed: conversions.to_graph(path, example, allow_nonfinite=allowed)


def _matching(found: Outputs, given: Outputs) -> Outputs:
    """Outputs of the runtime without those that are given twice."""
    kept = list(given)
    for i, out in enumerate(found):
        while len(kept) > len(found) and kept[i].shape != out.shape:
            kept.pop(i)
    return kept[: len(found)]


def _same(a: Tensor, b: Tensor) -> bool:
    a, b = a.detach(), b.detach()
    return a.dtype == b.dtype and a.shape == b.shape and a.numpy().tobytes() == b.numpy().tobytes()


# ---- ONNX


def measured_onnx(path: Path) -> Row:
    """A row of an ONNX file, by onnxruntime."""
    import onnx
    import onnxruntime

    proto = onnx.load(path)
    inputs = _examples(proto, path)

    def session(optimised: bool, state: Mapping[str, Tensor] | None) -> Outputs:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 4
        levels = onnxruntime.GraphOptimizationLevel
        options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
        model = proto if state is None else _changed(proto, state)
        running = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        given = {own.name: value.numpy() for own, value in zip(running.get_inputs(), inputs, strict=True)}
        return [torch.from_numpy(np.asarray(value)) for value in running.run(None, given)]

    def runs(state: Mapping[str, Tensor] | None) -> Sequence[Outputs]:
        return [session(False, state)] if state is not None else [session(False, None), session(True, None)]

    def state(graph: NetGraph) -> Mapping[str, Tensor]:
        tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
        return {name: torch.from_numpy(value.copy()) for name, value in tensors.items()}

    kinds = _operators(proto.graph)
    return measured(of_file(path, inputs), inputs, state, runs, "recurrent" if kinds & set(RECURRENT) else "network")


def _operators(graph: Any) -> set[str]:
    inner = [_operators(attribute.g) for node in graph.node for attribute in node.attribute if attribute.HasField("g")]
    return {node.op_type for node in graph.node}.union(*inner)


def _examples(proto: Any, path: Path) -> list[Tensor]:
    """Random inputs of the shapes that a model says, usual ones where it leaves them open."""
    import onnx

    generator = torch.Generator().manual_seed(0)
    held = {tensor.name for tensor in proto.graph.initializer}
    found = []
    for value in proto.graph.input:
        if value.name in held:
            continue
        dims = [dim.dim_value or 0 for dim in value.type.tensor_type.shape.dim]
        open_sides = list(SIZES.get(path.name, SIDES.get(len(dims), (256,))))
        sides = [*(2 if i == 0 else 16 for i in range(min(2, len(dims))))]
        for i, size in enumerate(dims):
            if size <= 0 and i >= 2:
                position = i - len(dims) + len(open_sides)
                size = open_sides[position] if position >= 0 else 64
            dims[i] = size if size > 0 else sides[i]
        kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        if kind.kind in "iu" or path.name in TOKENS:
            drawn = torch.randint(0, HIGHEST.get(path.name, 10), dims, generator=generator)
            found.append(torch.from_numpy(drawn.numpy().astype(kind)))
        else:
            found.append(torch.from_numpy(torch.randn(dims, generator=generator).numpy().astype(kind)))
    return found


def _changed(proto: Any, state: Mapping[str, Tensor]) -> Any:
    """A model with the tensors of a state dict in the places of its own."""
    import onnx

    copy = type(proto)()
    copy.CopyFrom(proto)
    places = {tensor.name: tensor for tensor in copy.graph.initializer}
    for node in copy.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            places[node.output[0]] = node.attribute[0].t
    for name, place in places.items():
        if name in state:
            place.CopyFrom(onnx.numpy_helper.from_array(state[name].numpy(), name))
    return copy


# ---- Keras


def measured_keras(path: Path) -> Row:
    """A row of a Keras file, by Keras on torch."""
    os.environ["KERAS_BACKEND"] = "torch"
    import h5py
    import keras

    model = keras.saving.load_model(path, compile=False)
    shapes = [list(tensor.shape[1:]) for tensor in model.inputs]
    generator, sides = torch.Generator().manual_seed(0), list(SIZES.get(path.name, (64, 64)))
    for shape in shapes:
        for i, size in enumerate(shape):
            shape[i] = sides[min(i, len(sides) - 1)] if size is None else size
    inputs = [torch.randn(2, *shape, generator=generator) for shape in shapes]

    def run(batch: Sequence[Tensor]) -> Outputs:
        with torch.no_grad():
            return listed(model(list(batch) if len(batch) > 1 else batch[0], training=False))

    def runs(state: Mapping[str, Tensor] | None) -> Sequence[Outputs]:
        for place, value in _places(model) if state is not None else ():
            value.assign(state[place].numpy())  # type: ignore[index]
        one_by_one = [run([value[i : i + 1] for value in inputs]) for i in range(2)]
        return [run(inputs), [torch.cat(pair) for pair in zip(*one_by_one, strict=True)]]

    def state(graph: NetGraph) -> Mapping[str, Tensor]:
        return {place: torch.from_numpy(np.array(value.numpy())) for place, value in _places(model)}

    del h5py
    return measured(of_file(path, inputs), inputs, state, runs)


def _places(model: Any, above: str = "") -> list[tuple[str, Any]]:
    """The weights of a model, by the keys of the graph's state dict."""
    found = []
    for layer in model.layers:
        if hasattr(layer, "layers"):
            found += _places(layer, f"{above}{layer.name}/")
        else:
            found += [(f"{above}{layer.name}/{weight.name}", weight) for weight in layer.weights]
    return found
