"""The table of conversions/README.md: every kind of network there and back, run from its graph, permuted.

python -m experiments.conversion_table                # networks of experiments/conversion_networks.py
python -m experiments.conversion_table --packages     # CNNs of the package transformers, with random weights, too
python -m experiments.conversion_table --width 0.25   # a quarter of the channels
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

import conversions
from experiments.conversion_images import IMAGES
from experiments.conversion_networks import IMAGE, NETWORKS
from experiments.conversion_sequences import SEQUENCES
from graphws.symmetry.permutations import Symmetry
from graphws.types.graph import NetGraph

SMALL = {"image_size": 64}
PACKAGES: dict[str, dict[str, Any]] = {
    "ResNet": {},
    "RegNet": {},
    "MobileNetV1": {},
    "MobileNetV2": {},
    "EfficientNet": {**SMALL, "width_coefficient": 1.0, "depth_coefficient": 1.0, "hidden_dim": 1280},  # B0
    "ConvNext": {},
    "ConvNextV2": {},
    "PoolFormer": {},
    "FocalNet": {**SMALL, "embed_dim": 32, "depths": [1, 1, 1, 1]},
    "TextNet": {},
    "HGNetV2": {},
    "DINOv3ConvNext": {},
    "PPLCNet": {},
    "Bit": {},
    "Levit": {"image_size": 224},
    "Cvt": {},
}
HEADER = ("network", "parameters", "represented", "execute", "inverse", "permuted", "factors", "seconds")


def from_package(name: str, options: dict[str, Any]) -> nn.Module:
    """A network of the package transformers, from its configuration."""
    import transformers

    config = getattr(transformers, f"{name}Config")(**options)
    model = getattr(transformers, f"{name}ForImageClassification", None) or getattr(transformers, f"{name}Model")
    module: nn.Module = model(config)
    return module


def drawn(module: nn.Module) -> nn.Module:
    """In evaluation mode; statistics and vectors are drawn, so that no channel equals another."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for key, value in module.state_dict().items():
            if "running_var" in key:
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
            elif value.is_floating_point() and value.dim() <= 1:
                value.add_(0.3 * torch.randn(value.shape, generator=generator))
    return module.eval()


def first(returned: Any) -> Tensor:
    """The first tensor that a network returns."""
    leaves = tree_leaves(list(returned.values()) if isinstance(returned, Mapping) else returned)
    return next(leaf for leaf in leaves if isinstance(leaf, Tensor))


def difference(found: Tensor, expected: Tensor) -> float:
    """The largest difference, relative to the largest output."""
    return float((found - expected).abs().max() / expected.abs().max())


def same_bits(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    """Same keys in the same order, same dtypes, every value the same."""
    pairs = zip(first.items(), second.items(), strict=False)
    same = all(k == l and a.dtype == b.dtype and torch.equal(a, b) for (k, a), (l, b) in pairs)
    return same and len(first) == len(second)


@torch.no_grad()
def row(name: str, make: Callable[[], nn.Module], shape: tuple[int, ...], tokens: int = 0) -> tuple[str, ...]:
    """One row: conversion timed in float32, execution and permutation measured in float64.

    Args:
        name: Of the network.
        make: Makes it.
        shape: Of one input.
        tokens: The whole numbers below this one are its inputs; 0 where they are real.
    """
    torch.manual_seed(0)
    module = drawn(make())
    parameters = sum(value.numel() for value in module.parameters())
    start = time.perf_counter()
    try:
        graph = conversions.to_graph(module, inputs(1, shape, tokens))
        back = conversions.to_state_dict(graph)
    except ValueError as error:
        return name, f"{parameters:,}", f"refused: {error}", *[""] * 5
    seconds = time.perf_counter() - start
    exact = same_bits(back, module.state_dict())
    share = conversions.report(graph).share
    del graph, back
    executed, permuted, factors = errors(module.double(), inputs(2, shape, tokens, torch.float64))
    facts = (
        f"{100 * share:.4g}%",
        f"{executed:.1e}",
        "exact" if exact else "NOT EXACT",
        f"{permuted:.1e}",
        str(factors),
    )
    return name, f"{parameters:,}", *facts, f"{seconds:.2f}"


def inputs(count: int, shape: tuple[int, ...], tokens: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """So many random inputs."""
    if tokens:
        return torch.randint(0, tokens, (count, *shape))
    return torch.randn(count, *shape, dtype=dtype)


def errors(module: nn.Module, x: Tensor) -> tuple[float, float, int]:
    """Of the execution from the graph, of the module with a permuted state dict; factors of the symmetry group."""
    expected = first(module(x))
    graph: NetGraph = conversions.to_graph(module, x)
    executed = difference(first(conversions.execute(graph, x)), expected)
    symmetry = Symmetry(graph.architecture)
    moved = symmetry.act(symmetry.sample(torch.Generator().manual_seed(1)), graph)
    module.load_state_dict(conversions.to_state_dict(moved))
    return executed, difference(first(module(x)), expected), len(symmetry.sizes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", action="store_true", help="CNNs of the package transformers too")
    parser.add_argument("--width", type=float, default=1.0, help="factor on the channels of our own networks")
    parser.add_argument("--only", default="", help="names, separated by commas")
    options = parser.parse_args()
    chosen = [name.strip() for name in options.only.split(",") if name.strip()]
    print("| " + " | ".join(HEADER) + " |\n|" + "---|" * len(HEADER))
    for name, (make, shape, *tokens) in (NETWORKS | IMAGES | SEQUENCES).items():
        if not chosen or name in chosen:
            cells = row(name, lambda make=make: make(options.width), shape, *tokens)
            print("| " + " | ".join(cells) + " |", flush=True)
    for name, config in PACKAGES.items() if options.packages else ():
        if not chosen or name in chosen:
            shape = (3, 224, 224) if config.get("image_size") == 224 else IMAGE
            cells = row(f"transformers {name}", lambda name=name, config=config: from_package(name, config), shape)
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
