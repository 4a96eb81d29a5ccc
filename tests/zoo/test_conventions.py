from __future__ import annotations

import pytest
import torch

from graphws import Batch
from graphws.functional import realise
from graphws.zoo import convention_of, coordinates, initialise, siren_architecture


def test_coordinates_stand_in_the_order_of_their_convention() -> None:
    dws, nfn = coordinates(2, 3, "dws"), coordinates(2, 3, "nfn")
    assert dws.tolist() == [[-1, -1], [0, -1], [1, -1], [-1, 1], [0, 1], [1, 1]]  # column, row
    assert torch.equal(nfn, dws.flip(1))  # row, column


def test_keys_offset_and_pixels() -> None:
    dws, nfn = siren_architecture((2, 4, 4, 1), "dws"), siren_architecture((2, 4, 4, 1), "nfn")
    assert [spec.key for spec in dws.tensors] == [f"seq.{i}.{part}" for i in range(3) for part in ("weight", "bias")]
    assert [spec.key for spec in nfn.tensors] == [
        "net.0.linear.weight", "net.0.linear.bias", "net.1.linear.weight", "net.1.linear.bias",
        "net.2.weight", "net.2.bias",
    ]  # fmt: skip
    assert (dws.output_offset, nfn.output_offset) == (0.5, 0.0)
    grey = torch.tensor([0, 255], dtype=torch.uint8)
    assert convention_of("dws").to_pixels(grey).tolist() == [0, 1]
    assert convention_of("nfn").to_pixels(grey.float() / 255).tolist() == [-1, 1]


def test_starts_stay_within_the_bounds_of_their_convention(generator: torch.Generator) -> None:
    for name, first, output in (("dws", 3**0.5 / 30, 32**-0.5), ("nfn", 0.5, (6 / 32) ** 0.5 / 30)):
        arch = siren_architecture((2, 32, 32, 1), name)
        x, edge_attr = initialise(arch, name, 50, generator)
        bounds = [edge_attr[:, part].abs().max().item() for part in arch.edge_slices]
        assert bounds == pytest.approx([first, (6 / 32) ** 0.5 / 30, output], rel=0.02)
        biases = [x[:, part].abs().max().item() for part in arch.node_slices]
        expected = [0, 0, 0, 32**-0.5] if name == "dws" else [0, 2**-0.5, 32**-0.5, 32**-0.5]
        assert biases == pytest.approx(expected, rel=0.05)


def test_a_network_of_one_convention_draws_another_picture_in_the_other() -> None:
    arch = siren_architecture((2, 4, 1), "dws")
    batch = Batch.from_stack(arch, *initialise(arch, "dws", 1, torch.Generator().manual_seed(0)))
    here, there = realise(batch, coordinates(5, 5, "dws")), realise(batch, coordinates(5, 5, "nfn"))
    torch.testing.assert_close(here.view(5, 5), there.view(5, 5).T)  # transposed


def test_bad_names_and_layouts_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown convention 'x'; known: dws, nfn"):
        coordinates(2, 2, "x")
    for layout in ((2, 1), (3, 4, 1), (2, 0, 1)):
        with pytest.raises(ValueError, match="2 coordinates, one or more hidden widths"):
            siren_architecture(layout)
    with pytest.raises(ValueError, match="w0 of a SIREN must be positive, found 0"):
        siren_architecture((2, 4, 1), w0=0.0)
