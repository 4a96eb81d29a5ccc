"""Architecture: all of an input network that does not depend on its values."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from graphws.types.activation import Activation
from graphws.types.components import CONSTANT_KINDS, EdgeBlock, Input, NodeGroup, Step, TensorSpec, check_kinds

__all__ = ["Architecture", "EdgeBlock", "Input", "NodeGroup", "Step", "TensorSpec"]

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Architecture:
    """The structure A of an input network: groups, blocks, activations, the layout of its state dict.

    arXiv 2602.01083, Section 3: A = (d_0, .., d_L), parameters v = (W_1, b_1, .., W_L, b_L), and the symmetry group
    G_A = S_{d_1} x .. x S_{d_{L-1}}. Frozen, hashable, and JSON both ways.

    Args:
        groups: Node groups in topological order, inputs first.
        blocks: Edge blocks in the topological order of their target, then of their source.
        tensors: The state dict's tensors in their order there; empty for a network that has none.
        output_offset: Constant added to the network's output (0.5 in the DWS data).
        program: The forward pass, where it is more than ``activation(sum over incoming blocks + bias)`` group by group.
        outputs: The values of the program that the network returns.
        inputs: The tensors that the program takes, values 0, 1, .. of it, in the order of their node groups.

    Raises:
        ValueError: If names repeat, an index points nowhere, or a block does not lead forward.
    """

    groups: tuple[NodeGroup, ...]
    blocks: tuple[EdgeBlock, ...]
    tensors: tuple[TensorSpec, ...] = ()
    output_offset: float = 0.0
    program: tuple[Step, ...] = ()
    outputs: tuple[int, ...] = ()
    inputs: tuple[Input, ...] = ()

    def __post_init__(self) -> None:
        named: dict[str, list[Any]] = {
            "node group": [group.name for group in self.groups],
            "edge block": [block.name for block in self.blocks],
        }
        tensors = [(tensor.key, tensor.columns, tensor.part, tensor.index) for tensor in self.tensors]
        for what, names in {**named, "tensor": tensors}.items():
            repeated = sorted(str(name) for name, count in Counter(names).items() if count > 1)
            if repeated:
                raise ValueError(f"every {what} needs a name of its own, got {repeated} more than once")
        for block in self.blocks:
            if not 0 <= block.source < block.target < len(self.groups):
                raise ValueError(
                    f"edge block {block.name!r} must lead from an earlier to a later one of {len(self.groups)} "
                    f"groups, got {block.source} -> {block.target}"
                )
        for tensor in self.tensors:
            limits = {"weight": len(self.blocks), "bias": len(self.groups), "remainder": 0}
            limit = limits.get(tensor.part)
            if limit is None:
                raise ValueError(f"tensor {tensor.key!r} fills {tensor.part!r}; known: {', '.join(limits)}")
            if tensor.part != "remainder" and not 0 <= tensor.index < limit:
                raise ValueError(
                    f"tensor {tensor.key!r} fills {tensor.part} {tensor.index}, of which there are {limit}"
                )

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(self._content)

    def __reduce__(self) -> Any:  # hashes differ by process
        return Architecture, self._content

    @property
    def _content(self) -> tuple[Any, ...]:
        return tuple(getattr(self, field.name) for field in dataclasses.fields(self))

    @classmethod
    def mlp(
        cls,
        widths: Sequence[int],
        activation: str | Activation = "relu",
        *,
        bias: bool | Sequence[bool] = True,
        output_activation: str | Activation = "identity",
        output_offset: float = 0.0,
        dtype: str = "float32",
        keys: str = "layers.{layer}.{part}",
    ) -> Architecture:
        """The architecture (d_0, .., d_L) of a multi-layer perceptron.

        Args:
            widths: d_0 to d_L, at least two.
            activation: The activation of the hidden layers, as ``"relu"`` or ``"sine:30"``.
            bias: Whether the layers have a bias; one value for all, or one per layer.
            output_activation: The activation of the last layer.
            output_offset: Constant added to the output.
            dtype: The dtype of the state dict's tensors.
            keys: Pattern of the state dict's keys, with ``{layer}`` (0 to L - 1) and ``{part}`` (weight, bias).

        Raises:
            ValueError: If there are fewer than two widths, one is below 1, or ``bias`` has not one entry per layer.
        """
        depth = len(widths) - 1
        if depth < 1:
            raise ValueError(f"an MLP needs at least two widths (input and output), got {list(widths)}")
        biases = [bias] * depth if isinstance(bias, bool) else list(bias)
        if "{layer}" not in keys and depth > 1:
            raise ValueError(f"every tensor needs a name of its own, got {[keys]} more than once")
        if len(biases) != depth:
            raise ValueError(f"bias needs one entry per layer ({depth}), got {len(biases)}")
        hidden, last = Activation.parse(activation), Activation.parse(output_activation)
        groups = [NodeGroup("input", widths[0], "input", has_bias=False)]
        groups += [
            NodeGroup(f"hidden_{i}", widths[i], "hidden", hidden, biases[i - 1], factor=i - 1) for i in range(1, depth)
        ]
        groups.append(NodeGroup("output", widths[-1], "output", last, biases[-1]))
        blocks = tuple(EdgeBlock(f"layer_{i}", i - 1, i) for i in range(1, depth + 1))
        tensors = []
        for i in range(depth):
            key = keys.format(layer=i, part="weight")
            tensors.append(TensorSpec(key, (widths[i + 1], widths[i]), dtype, "weight", i))
            if biases[i]:
                tensors.append(TensorSpec(keys.format(layer=i, part="bias"), (widths[i + 1],), dtype, "bias", i + 1))
        return cls(tuple(groups), blocks, tuple(tensors), float(output_offset))

    @cached_property
    def structure(self) -> Architecture:
        """This architecture without names: equal for networks that differ only in the keys or dtypes of their files."""
        groups = tuple(dataclasses.replace(group, name=str(i)) for i, group in enumerate(self.groups))
        blocks = tuple(dataclasses.replace(block, name=str(i)) for i, block in enumerate(self.blocks))
        bare = Architecture(groups, blocks, (), self.output_offset)
        return self if bare == self else bare

    @cached_property
    def num_nodes(self) -> int:
        """Neurons, those of the input included."""
        return sum(group.size for group in self.groups)

    @cached_property
    def num_edges(self) -> int:
        """Edges, one per weight."""
        return sum(math.prod(self.block_shape(i)) for i in range(len(self.blocks)))

    @cached_property
    def num_parameters(self) -> int:
        """Weights and biases, what norms hold included, constant edges (of residual sums) not."""
        constant = (i for i, block in enumerate(self.blocks) if block.kind in CONSTANT_KINDS)
        biases = sum(group.size for group in self.groups if group.has_bias)
        return self.num_edges - sum(math.prod(self.block_shape(i)) for i in constant) + biases

    def block_shape(self, index: int) -> tuple[int, int, int]:
        """Shape [out, in, taps] of a block; for a grouped one, in is the number of neurons that each neuron reads."""
        block = self.blocks[index]
        out, into = (
            len(range(*part)) if part else self.groups[group].size
            for part, group in ((block.targets, block.target), (block.sources, block.source))
        )
        return out, into // block.groups, block.taps

    @cached_property
    def is_dense(self) -> bool:
        """Whether all blocks are dense, so that models may broadcast over [out, in]."""
        return all(block.is_dense for block in self.blocks)

    @cached_property
    def node_slices(self) -> tuple[slice, ...]:
        """The nodes of each group."""
        return _slices(group.size for group in self.groups)

    @cached_property
    def edge_slices(self) -> tuple[slice, ...]:
        """The edges of each block."""
        return _slices(math.prod(self.block_shape(i)) for i in range(len(self.blocks)))

    @property
    def is_mlp(self) -> bool:
        """Whether this is a chain of dense blocks, the architectures of arXiv 2602.01083."""
        chain = all((block.source, block.target) == (i, i + 1) for i, block in enumerate(self.blocks))
        dense = all(not block.kernel and block.is_dense for block in self.blocks)
        return chain and dense and not self.program and len(self.groups) == len(self.blocks) + 1 >= 2

    @property
    def widths(self) -> tuple[int, ...]:
        """Sizes of the groups: (d_0, .., d_L) for an MLP."""
        return tuple(group.size for group in self.groups)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the program's first input, without the batch axis; empty where there is no program."""
        return self.inputs[0].shape if self.inputs else ()

    def to_json(self) -> str:
        """This architecture as JSON text; :meth:`from_json` reads it back."""
        data = {"format_version": FORMAT_VERSION, **dataclasses.asdict(self)}
        if self.inputs in ((), (Input("input", self.input_shape),)):  # as files of one input always said it
            data["input_shape"] = data.pop("inputs") and self.input_shape
        return json.dumps(data)

    @classmethod
    def of(cls, architecture: Architecture | Sequence[int] | str) -> Architecture:
        """An architecture from itself, its JSON text, or the widths (d_0, .., d_L) of an MLP with biases.

        Raises:
            ValueError: If it is none of these.
        """
        if isinstance(architecture, Architecture):
            return architecture
        if not isinstance(architecture, str):
            return cls.mlp(list(architecture))
        if architecture.lstrip().startswith("{"):
            return cls.from_json(architecture)
        raise ValueError(
            f"expected an Architecture, its JSON text, or the widths of an MLP; found {architecture[:40]!r} "
            "('data' stands for that of a run's zoo in configurations, which graphws fit and sweep read)"
        )

    @classmethod
    def from_json(cls, text: str) -> Architecture:
        """Read what :meth:`to_json` wrote.

        Raises:
            ValueError: If the text is no JSON, of another format version, or a field is missing or unknown.
        """
        try:
            data: dict[str, Any] = json.loads(text)
            version = data.pop("format_version")
            if version != FORMAT_VERSION:
                raise ValueError(f"expected format version {FORMAT_VERSION}, found {version}")
            groups = tuple(
                NodeGroup(**_tuples({**g, "activation": Activation(**g["activation"])})) for g in data.pop("groups")
            )
            blocks = tuple(EdgeBlock(**_tuples(b)) for b in data.pop("blocks"))
            tensors = tuple(TensorSpec(**_tuples(t)) for t in data.pop("tensors"))
            program = tuple(Step(**step) for step in data.pop("program", []))
            inputs = tuple(Input(**_tuples(entry)) for entry in data.pop("inputs", []))
            shape, outputs = tuple(data.pop("input_shape", [])), tuple(data.pop("outputs", []))
            inputs = inputs or ((Input("input", shape),) if program else ())
            found = cls(groups, blocks, tensors, program=program, outputs=outputs, inputs=inputs, **data)
            for part in (*groups, *blocks, *tensors, *program, *inputs, found):
                check_kinds(part)
            return found
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"not an architecture in JSON: {type(error).__name__}: {error}") from None

    def __repr__(self) -> str:
        activations = ", ".join(dict.fromkeys(str(group.activation) for group in self.groups[1:-1])) or "linear"
        return f"Architecture({'-'.join(map(str, self.widths))}, {activations}, parameters={self.num_parameters:,})"


def _tuples(fields: dict[str, Any]) -> dict[str, Any]:
    """JSON's lists as the tuples of a frozen field."""

    def frozen(value: Any) -> Any:
        return tuple(frozen(entry) for entry in value) if isinstance(value, list) else value

    return {name: frozen(value) for name, value in fields.items()}


def _slices(sizes: Any) -> tuple[slice, ...]:
    out, start = [], 0
    for size in sizes:
        out.append(slice(start, start + size))
        start += size
    return tuple(out)
