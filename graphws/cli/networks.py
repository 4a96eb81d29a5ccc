"""Networks named on the command line: a file, a model folder, or a module of one's own with a file's tensors."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the command line starts without torch
    from torch import Tensor, nn

    from conversions.assembly import Signature
    from conversions.files.filling import Filled
    from graphws.types.activation import Activation
    from graphws.types.graph import NetGraph

__all__ = [
    "ASSUMED",
    "Converter",
    "add_network_options",
    "build_module",
    "find_factory",
    "guesses",
    "load_strictly",
    "parse_shape",
]

ASSUMED = "assumed"  # what a note begins with that is a guess at the function
KEPT = 16  # networks whose architecture others of their shapes may have


def add_network_options(parser: argparse.ArgumentParser, *, allow_nonfinite: bool = True) -> None:
    """Add the options that say how a checkpoint is read."""
    parser.add_argument(
        "--module",
        metavar="PKG.MOD:FACTORY",
        help="importable function or class that builds, called without arguments, the module whose tensors the "
        "checkpoint replaces, all of them",
    )
    parser.add_argument(
        "--input-shape",
        type=parse_shape,
        metavar="1,3,32,32",
        help="shape of one batch of inputs, its batch axis first (inferred if left out)",
    )
    parser.add_argument(
        "--activation",
        metavar="NAME",
        help="activation of the hidden layers of a bare state dict, for example relu or sine:30",
    )
    parser.add_argument(
        "--key",
        metavar="NAME",
        help="key of the state dict in a checkpoint that holds several, as ema or ema.model; needed only there",
    )
    parser.add_argument(
        "--assume-chain",
        action="store_true",
        help="read a bare state dict as one chain of layers where names and widths leave other readings; it is noted",
    )
    if allow_nonfinite:
        parser.add_argument(
            "--allow-nonfinite", action="store_true", help="accept networks with NaN or infinite weights"
        )


def parse_shape(text: str) -> tuple[int, ...]:
    """``1,3,32,32`` as numbers.

    Raises:
        argparse.ArgumentTypeError: If it is no list of positive numbers.
    """
    try:
        shape = tuple(int(size) for size in text.split(","))
    except ValueError:
        shape = ()
    if len(shape) < 2 or min(shape) < 1:
        raise argparse.ArgumentTypeError(f"expected a shape with its batch axis, as 1,3,32,32, found {text!r}")
    return shape


def find_factory(name: str) -> Any:
    """The importable function, class or module of a name as ``PKG.MOD:FACTORY``.

    Raises:
        ValueError: If the name is malformed or can't be imported.
    """
    where, colon, attribute = name.partition(":")
    if not (where and colon and attribute):
        raise ValueError(f"--module must be PKG.MOD:FACTORY, as my_models.cnn:resnet18, found {name!r}")
    if os.getcwd() not in sys.path:  # modules beside the user, as `python -m` finds them, after the installed ones
        sys.path.append(os.getcwd())
    try:
        factory: object = import_module(where)
        for part in attribute.split("."):
            factory = getattr(factory, part)
    except Exception as error:  # importing runs the user's own code
        raise ValueError(f"--module {name} failed: {type(error).__name__}: {error}") from None
    return factory


def build_module(name: str, **arguments: Any) -> nn.Module:
    """The module that an importable factory returns, in evaluation mode.

    Raises:
        ValueError: If the name is malformed, can't be imported, or gives no module.
    """
    from torch import nn

    factory = find_factory(name)
    try:
        module = factory(**arguments) if callable(factory) else factory
    except Exception as error:  # calling runs the user's own code
        given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        called = f"{name}({given})" if given else name
        raise ValueError(f"--module {called} failed: {type(error).__name__}: {error}") from None
    if not isinstance(module, nn.Module):
        raise ValueError(f"--module {name} must give a torch.nn.Module, found {type(module).__name__}")
    return module.eval()


@dataclass
class Converter:
    """Turns files into graphs, all in the same way.

    Args:
        module: The module's factory as ``PKG.MOD:FACTORY``; None where the files say the network themselves.
        input_shape: Shape of a batch of inputs, batch axis first; None to infer it.
        activation: Activation of the hidden layers of bare state dicts.
        allow_nonfinite: Let NaN and infinite weights through.
        assume_chain: Read bare state dicts as chains where names and widths leave other readings.
        output_offset: Constant that the function of a bare state dict adds to its output; no option says it.
        key: Names the state dict in checkpoints that hold several.
        arguments: What the module's factory is called with.

    Raises:
        ValueError: If options contradict each other.
    """

    module: str | None = None
    input_shape: tuple[int, ...] | None = None
    activation: str | Activation | None = None
    allow_nonfinite: bool = False
    assume_chain: bool = False
    output_offset: float | None = None
    key: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)

    _known: dict[Signature, list[NetGraph]] = field(init=False, default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.module is not None and self.activation is not None:
            raise ValueError("--activation is for bare state dicts; a module says its own")
        if self.module is not None and self.assume_chain:
            raise ValueError("--assume-chain is for bare state dicts; a module says how its layers are joined")
        if self.activation is not None:
            from graphws.types.activation import Activation

            Activation.parse(self.activation)

    @cached_property
    def _built(self) -> nn.Module | None:
        return None if self.module is None else build_module(self.module, **self.arguments)

    def prepare(self) -> None:
        """Build the module now.

        Raises:
            ValueError: If it can't be built.
        """
        _ = self._built

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Converter:
        """What :func:`add_network_options` parsed."""
        allowed = getattr(arguments, "allow_nonfinite", False)
        chain = arguments.assume_chain
        return cls(arguments.module, arguments.input_shape, arguments.activation, allowed, chain, key=arguments.key)

    @property
    def options(self) -> dict[str, Any]:
        """How files are read, as JSON values: the options that are set; what a zoo is told apart by."""
        given = {e.name: getattr(self, e.name) for e in fields(self) if e.init and e.name != "arguments"}
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
        return {name: value for name, value in plain.items() if value not in (None, False)}

    def __call__(self, path: str | Path) -> NetGraph:
        """The graph of a file or folder.

        Raises:
            ValueError: If it is not understood.
            OSError: If it is missing or unreadable.
        """
        import conversions

        if self._built is not None:
            from conversions.files.filling import as_filed
            from conversions.files.loading import fill_from

            filled = fill_from(self._built, path, self._example(self._built), self.key)
            return as_filed(self._of_module(self._built), filled)
        return conversions.to_graph(
            path,
            self._example(None),
            activation=self.activation,
            allow_nonfinite=self.allow_nonfinite,
            assume_chain=self.assume_chain,
            output_offset=self.output_offset,
            key=self.key,
        )

    def _of_module(self, module: nn.Module) -> NetGraph:
        """The graph of a module that a file's tensors were put in.

        It is recorded once for all files of equal shapes and dtypes, and of equal values where these decide what the
        module does.
        """
        import conversions
        from conversions.assembly import assemble, signature
        from conversions.files.filling import same_bits

        own = module.state_dict()
        known = self._known.setdefault(signature(own), [])
        for other in known:
            fixed = other.remainder.fixed
            if all(same_bits(own[key], other.remainder.tensors[key]) for key in fixed):
                graph = assemble(other.architecture, own, allow_nonfinite=self.allow_nonfinite)
                graph.remainder.fixed, graph.remainder.notes = fixed, other.remainder.notes
                return graph
        graph = conversions.to_graph(module, self._example(module), allow_nonfinite=self.allow_nonfinite)
        if len(known) < KEPT:
            known.append(graph)
        return graph

    def _example(self, module: nn.Module | None) -> Tensor | None:
        import torch

        if self.input_shape is None:
            return None
        floats = (p.dtype for p in module.parameters() if p.is_floating_point()) if module is not None else iter(())
        generator = torch.Generator().manual_seed(0)
        return torch.randn(self.input_shape, generator=generator).to(next(floats, torch.float32))


def guesses(graph: NetGraph) -> list[str]:
    """What was assumed of a network's function when it was read."""
    return [note for note in graph.remainder.notes if note.startswith(ASSUMED)]


def load_strictly(module: nn.Module, state: dict[str, Tensor], where: str) -> Filled:
    """Replace all tensors of a module by a checkpoint's; see :func:`conversions.files.filling.fill`.

    Raises:
        ValueError: If a tensor is missing, left over, or of another shape.
    """
    from conversions.files.filling import fill

    return fill(module, state, where)
