import torch
import torch.nn.functional as F

from graphws.engine.second_order import gradients_again


class Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values, weight):
        ctx.save_for_backward(values, weight)
        return values @ weight.T

    @staticmethod
    def backward(ctx, gradient):
        assert torch.is_grad_enabled()
        return tuple(gradients_again(F.linear, ctx.saved_tensors, (gradient,)))


def test_layers_that_share_a_weight_count_each_place_once():
    values, weight = (torch.randn(4, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    weight = weight[:3].detach().requires_grad_()

    def both_orders(layer):
        out = layer(layer(values, weight).tanh(), weight)
        first = torch.autograd.grad(out, (values, weight), out.cos(), create_graph=True)
        return [*first, *torch.autograd.grad(sum((g**2).sum() for g in first), (values, weight), create_graph=True)]

    for own, other in zip(both_orders(Linear.apply), both_orders(F.linear), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-12, atol=1e-12)


def test_an_output_that_was_not_used_and_an_input_without_gradient():
    values, weight = torch.randn(4, 3, requires_grad=True), torch.randn(2, 3)
    found = gradients_again(lambda v, w, _: (v @ w.T, v.sum()), (values, weight, None), (None, torch.tensor(2.0)))
    assert torch.equal(found[0], torch.full((4, 3), 2.0))
    assert found[1:] == [None, None]
