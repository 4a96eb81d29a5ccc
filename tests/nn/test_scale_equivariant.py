import pytest
import torch

from graphws import Architecture, Batch
from graphws.nn import ReScaleEq, ScaleEq, ScaleInv
from graphws.nn.scale_equivariant import bounded, check_symmetry, fixed_nodes
from graphws.testing.equivariance import random_graph
from tests.reference.scale_gmn import slow_scale_eq, slow_scale_inv

FACTORS = {"sign": (-1.0,), "scale": (1e-3, 0.7, 1e3)}
SYMMETRIES = sorted(FACTORS)


def states(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("symmetry", SYMMETRIES)
@pytest.mark.parametrize("context_channels", [0, 3])
def test_blocks_give_what_the_equations_say(symmetry, context_channels):
    options = {"symmetry": symmetry, "context_channels": context_channels, "hidden_channels": 6}
    invariant, equivariant = ScaleInv(4, 5, **options).double(), ScaleEq(4, 5, **options).double()
    x = states(7, 4)
    x[2] = 0
    context = states(7, context_channels, seed=1) if context_channels else None
    rows = [None] * 7 if context is None else context
    for layer, slow in ((invariant, slow_scale_inv), (equivariant, slow_scale_eq)):
        expected = torch.stack([slow(layer, state, c) for state, c in zip(x, rows, strict=True)])
        torch.testing.assert_close(layer(x, context), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_invariant_and_equivariant(symmetry):
    invariant = ScaleInv(4, 5, symmetry=symmetry).double()
    equivariant = ScaleEq(4, 5, symmetry=symmetry).double()
    x = states(6, 4)
    x[0] = 0
    for q in FACTORS[symmetry]:
        torch.testing.assert_close(invariant(q * x), invariant(x), rtol=1e-13, atol=1e-14)
        torch.testing.assert_close(equivariant(q * x), q * equivariant(x), rtol=1e-13, atol=1e-14 * abs(q))
    assert equivariant(x)[0].abs().max() == 0
    assert equivariant(x)[1:].abs().min() > 0


def test_each_symmetry_is_not_the_other():
    x = states(6, 4)
    sign, scale = (ScaleInv(4, 5, symmetry=symmetry).double() for symmetry in ("sign", "scale"))
    assert (sign(3 * x) - sign(x)).abs().max() > 1e-3
    assert (scale(-x) - scale(x)).abs().max() > 1e-3


@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_a_constant_added_to_the_linear_map_breaks_it(symmetry):
    layer = ScaleEq(4, 5, symmetry=symmetry).double()
    layer.gamma = torch.nn.Linear(4, 5).double()
    x, q = states(6, 4), FACTORS[symmetry][0]
    assert (layer(q * x) - q * layer(x)).abs().max() > 1e-3 * layer(x).abs().max()


def test_a_product_has_the_product_of_the_factors():
    layer = ReScaleEq((4, 3), 5).double()
    x, y = states(6, 4), states(6, 3, seed=1)
    torch.testing.assert_close(layer(-2 * x, 0.1 * y), -0.2 * layer(x, y), rtol=1e-13, atol=1e-14)
    one_by_one = torch.stack([(layer.maps[0].weight @ a) * (layer.maps[1].weight @ b) for a, b in zip(x, y)])  # noqa: B905
    torch.testing.assert_close(layer(x, y), one_by_one, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_zero_states_are_finite_and_so_are_their_gradients(symmetry):
    layer = ScaleEq(4, 5, symmetry=symmetry)
    for value in (0.0, 1e-15, 1e15):
        x = torch.full((2, 4), value, requires_grad=True)
        layer(x).sum().backward()
        assert torch.isfinite(layer(x)).all()
        assert torch.isfinite(x.grad).all()
    assert bounded(torch.zeros(3), symmetry).abs().max() == 0


def test_signs_keep_the_size_of_a_state_and_scales_do_not():
    small, large = torch.full((1, 4), 0.1), torch.full((1, 4), 100.0)
    assert bounded(small, "sign").max() < 0.11
    assert bounded(large, "sign").max() < 1
    torch.testing.assert_close(bounded(small, "scale"), bounded(large, "scale"))


def test_fixed_nodes_are_inputs_and_outputs():
    graphs = [random_graph(Architecture.mlp(widths)) for widths in ([2, 3, 1], [1, 2])]
    expected = [True, True, False, False, False, True]
    assert fixed_nodes(Batch.from_graphs(graphs)).squeeze(1).tolist() == [*expected, True, True, True]
    assert fixed_nodes(Batch.from_graphs(graphs[:1] * 2)).squeeze(1).tolist() == expected * 2


def test_one_network_of_a_batch_without_the_symmetry_is_named():
    graphs = [random_graph(Architecture.mlp([2, 3, 1], activation)) for activation in ("tanh", "identity", "relu")]
    check_symmetry(Batch.from_graphs(graphs[:2]), "sign")
    with pytest.raises(ValueError, match="the sign symmetry needs hidden activations .* has relu"):
        check_symmetry(Batch.from_graphs(graphs), "sign")
