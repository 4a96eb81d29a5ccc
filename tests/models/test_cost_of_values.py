"""FLOPs that follow from the size of the values: those of Fourier features."""

import pytest
from torch.utils.flop_counter import FlopCounterMode

from graphws import Architecture
from graphws.models import GMN, HNPNFN, NPNFN, cost
from graphws.testing.equivariance import random_batch


@pytest.mark.parametrize("scale", [0.02, 0.3, 1.0])
@pytest.mark.parametrize("kind", [HNPNFN, NPNFN])
def test_flops_of_fourier_features_follow_the_values(kind, scale):
    arch = Architecture.mlp([2, 16, 16, 1])
    model, found = kind(16, 1, 1, architecture=arch, fourier_features=64), random_batch(arch, 32)
    batch = found.replace(scale * found.x.float(), scale * found.edge_attr.float())
    with FlopCounterMode(display=False) as forward:
        model(batch)
    assert cost(model, arch, 32, like=batch).forward_flops == pytest.approx(forward.get_total_flops(), rel=0.02)
    if scale == 1.0:
        assert cost(model, arch, 32).forward_flops == pytest.approx(forward.get_total_flops(), rel=0.02)


def test_networks_of_another_architecture_say_nothing():
    with pytest.raises(ValueError, match="expected networks like .*2-3-1.*, found .*2-4-1"):
        cost(GMN(4, 1), [2, 3, 1], 2, like=random_batch(Architecture.mlp([2, 4, 1]), 2))
