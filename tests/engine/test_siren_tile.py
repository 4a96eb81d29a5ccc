"""The hand-written gradient against autograd, in float64."""

from __future__ import annotations

import pytest
import torch

from graphws.engine.siren_tile import SirenTile
from graphws.zoo import initialise, siren_architecture
from tests.reference.siren import draw, modules


@pytest.mark.parametrize("layout", [(2, 5, 1), (2, 5, 4, 1), (2, 4, 3, 5, 3)])
@pytest.mark.parametrize("convention", ["dws", "nfn"])
@pytest.mark.parametrize("members", [1, 3])
def test_error_and_gradient_are_autograds(layout: tuple[int, ...], convention: str, members: int) -> None:
    generator = torch.Generator().manual_seed(1)
    arch = siren_architecture(layout, convention, w0=7.0)
    x, edge_attr = (t.double() for t in initialise(arch, convention, 2 * members, generator))
    images = torch.rand(2, 3, 4, layout[-1], generator=generator, dtype=torch.float64)
    row_first = convention == "nfn"
    tile = SirenTile(arch, x, edge_attr, images, row_first=row_first, members=members)
    found = tile.forward()
    tile.backward()
    for image in range(2):
        networks = [modules(layout, x[i], edge_attr[i]) for i in range(image * members, (image + 1) * members)]
        pictures = [draw(n, 3, 4, row_first=row_first, w0=7.0, offset=arch.output_offset) for n in networks]
        error = ((torch.stack(pictures).mean(0) - images[image]) ** 2).mean()
        torch.testing.assert_close(found[image], error.detach(), rtol=1e-12, atol=0)
        error.backward()
        for member, network in enumerate(networks):
            for layer, (weight, bias) in zip(network, tile.gradients, strict=True):
                row = image * members + member
                torch.testing.assert_close(weight[row], layer.weight.grad, rtol=1e-10, atol=1e-13)
                torch.testing.assert_close(bias[row, :, 0], layer.bias.grad, rtol=1e-10, atol=1e-13)


def test_keep_leaves_the_others_as_they_were() -> None:
    generator = torch.Generator().manual_seed(1)
    arch = siren_architecture((2, 4, 3, 1))
    x, edge_attr = initialise(arch, "dws", 6, generator)
    tile = SirenTile(arch, x, edge_attr, torch.rand(3, 3, 4, 1), row_first=False, members=2)
    tile.forward()
    tile.backward()
    tile.adam(1e-3)
    before, error = tile.parameters(torch.ones(6, dtype=torch.bool)), tile.forward()
    tile.keep(torch.tensor([True, True, False, False, True, True]))
    after = tile.parameters(torch.ones(4, dtype=torch.bool))
    for old, new in zip(before, after, strict=True):
        assert torch.equal(old[[0, 1, 4, 5]], new)
    torch.testing.assert_close(tile.forward(), error[[0, 2]])
