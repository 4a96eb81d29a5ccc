"""Small forwards: those that are understood convert exactly, the others are refused by name and place."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import conversions
from tests.conversions.test_architectures import assert_converts


class Net(nn.Module):
    """A few parts that a function puts together; the input has 3 neurons, or with positions 3 channels."""

    def __init__(self, forward: Callable[..., object]) -> None:
        super().__init__()
        self.a, self.b, self.norm = nn.Linear(3, 4), nn.Linear(4, 4), nn.LayerNorm(4)
        self.batch, self.last, self.out = nn.BatchNorm1d(4), nn.Linear(8, 2), nn.Linear(4, 2)
        self.conv, self.flat = nn.Conv1d(3, 4, 3, padding=1), nn.Linear(16, 2)
        self.gain = nn.Parameter(torch.tensor([1.0, 2.0, 3.0, -1.0]))
        self.square = nn.Parameter(torch.randn(4, 4))
        self.kernel = nn.Parameter(torch.randn(4, 4, 3))
        self.places = nn.Parameter(torch.randn(4, 4))
        self.slope = nn.Parameter(torch.tensor(0.1))
        self.register_buffer("power", torch.tensor(2))
        self.hidden = [torch.eye(4)]
        self.function = forward

    def forward(self, x: Tensor) -> object:
        return self.function(self, x)


def chunks(m: Net, x: Tensor) -> Tensor:
    value, gate = (m.a(x).new_ones(1) * m.a(x)).chunk(2, 1)
    return F.linear(torch.cat([value * gate.sigmoid(), gate], 1), m.square)


def in_place_under_another_name(m: Net, x: Tensor) -> Tensor:
    h = m.norm(m.a(x))
    other = h.detach()
    other += 1
    F.relu_(h)
    return m.out(other)


def running(m: Net, x: Tensor) -> Tensor:
    with torch.inference_mode():
        h = m.batch(m.a(x))
        h *= 2
        return m.out(h.relu_())


class Swish(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)


UNDERSTOOD: dict[str, Callable[..., object]] = {
    "function": lambda m, x: m.out(F.softplus(m.a(x))),
    "method": lambda m, x: m.out(m.a(x).exp()),
    "layer norm": lambda m, x: m.out(m.norm(m.a(x))),
    "residual": lambda m, x: m.out(m.b(m.a(x)) + m.a(x)),
    "residual of the input": lambda m, x: m.out(m.a(x + x.sin()).relu()),
    "product of signals": lambda m, x: m.out(m.a(x) * m.b(m.a(x))),
    "difference": lambda m, x: m.out(m.a(x).relu() - m.b(m.a(x)).relu()),
    "quotient": lambda m, x: m.out(m.a(x) / m.b(m.a(x)).exp()),
    "matmul": lambda m, x: m.out(m.a(x).relu() @ m.square),
    "transpose": lambda m, x: m.out(F.linear(m.a(x).relu(), m.square.T)),
    "two activations": lambda m, x: m.out(m.a(x).relu().tanh()),
    "activated input": lambda m, x: m.out(m.a(torch.sin(x)).relu()),
    "scaled input": lambda m, x: m.out(m.a(30 * x).relu()),
    "shifted input": lambda m, x: m.out(m.a(x + 1).relu()),
    "scaled activation": lambda m, x: m.out(2 * m.a(x).relu()),
    "negated": lambda m, x: m.out(1 - m.a(x).relu()),
    "phase": lambda m, x: m.out(torch.sin(30 * m.a(x) + 1)),
    "number of a parameter": lambda m, x: m.out(m.norm(m.a(x)) * m.slope.item()),
    "list of a parameter": lambda m, x: m.out(m.norm(m.a(x)) * m.slope.tolist()),
    "scale computed": lambda m, x: m.out(m.a(x) * m.gain.exp()[None]),
    "weight times a number": lambda m, x: m.out(F.linear(m.a(x), m.square * 2, m.gain / m.slope)),
    "reciprocal": lambda m, x: m.out((1 / m.gain) * torch.rsub(m.a(x).sigmoid(), 2) + 1 / (m.norm(m.a(x)).exp() + 1)),
    "frequency a neuron": lambda m, x: m.out(torch.sin(m.gain * m.a(x))),
    "two biases": lambda m, x: m.out((m.a(x) + m.gain).relu()),
    "a bias apart": lambda m, x: m.out((F.linear(x, m.a.weight) + m.gain[None]).relu()),
    "one tensor as scale and shift": lambda m, x: m.out(m.gain * (m.a(x).relu() + m.gain)),
    "constant a neuron": lambda m, x: m.out(m.a(x).relu() * torch.tensor([1.0, 2.0, 2.0, 2.0])),
    "concatenation of the input": lambda m, x: m.last(torch.cat([m.a(torch.cat([x[:, 1:], x[:, :1]], 1)), m.a(x)], 1)),
    "twice": lambda m, x: m.out(m.b(m.b(m.a(x)).relu())),
    "named outputs": lambda m, x: {"y": m.out(m.a(x).relu())},
    "a parameter beside the output": lambda m, x: (m.out(m.a(x).relu()), m.slope),
    "halves": chunks,
    "in place": in_place_under_another_name,
    "inference mode": running,
    "autograd function": lambda m, x: m.out(Swish.apply(m.a(x))),
    "number of a buffer": lambda m, x: m.out(m.a(x).relu() ** int(m.power)),
    "reshape with the number of inputs": lambda m, x: m.out(
        m.a(x).relu().view(x.size(0), 2, 2).reshape(len(x), -1).relu()
    ),
    "half precision inside": lambda m, x: m.out(m.a(x).to(torch.float16).to(x.dtype).relu()),
    "same device": lambda m, x: m.out(m.a(x).to(m.gain.device).type_as(x).relu().cpu()),
    "cosine": lambda m, x: m.slope * F.linear(F.normalize(m.a(x).relu()), m.square),
    "transposed decoder": lambda m, x: m.out(F.linear(F.linear(m.a(x), m.square).relu(), m.square.T)),
    "moments by hand": lambda m, x: m.out((lambda h: (h - h.mean(-1, keepdim=True)) / h.std(-1, keepdim=True))(m.a(x))),
    "a matrix that is an attribute": lambda m, x: F.linear(m.a(x), m.hidden[0].to(x.dtype)),
    "clamped by a signal": lambda m, x: m.out(m.a(x).clamp(max=m.b(m.a(x)))),
    "maximum of signals": lambda m, x: m.out(torch.maximum(m.a(x), m.b(m.a(x)))),
    "cumulative sum": lambda m, x: m.out(torch.cumsum(m.a(x), 1)),
    "integers": lambda m, x: m.out(m.a(x).long().to(x.dtype)),
    "cast to integers": lambda m, x: m.out(m.norm(m.a(x)).to(torch.int64).to(x.dtype)),
    "mask": lambda m, x: m.out(m.a(x) * (m.a(x) > 0)),
    "neurons as rows and back": lambda m, x: m.out(m.a(x).relu().view(-1, 2).relu().view(-1, 4)),
}
SPATIAL: dict[str, Callable[..., object]] = {
    "square kernel with its axes swapped": lambda m, x: F.conv1d(m.conv(x).relu(), m.kernel.transpose(0, 1)).mean(2),
    "kernel both ways": lambda m, x: F.conv_transpose1d(F.conv1d(m.conv(x), m.kernel).relu(), m.kernel).mean(2),
    "a shift a position": lambda m, x: m.out((m.conv(x).relu() + m.gain).transpose(1, 2)).mean(1),
    "a shift a channel": lambda m, x: m.out((m.conv(x).relu() + m.gain[:, None]).transpose(1, 2)).mean(1),
    "as many positions as channels": lambda m, x: m.out((m.conv(x).transpose(1, 2) + m.places).relu()).mean(1),
    "flattened": lambda m, x: m.flat(m.conv(x).relu().flatten(1)),
    "positions before channels": lambda m, x: m.flat(m.conv(x).relu().transpose(1, 2).flatten(1)),
    "positions moved": lambda m, x: m.flat(m.conv(x).relu().roll(1, 2).flip(2).flatten(1)),
    "padded input": lambda m, x: m.conv(F.pad(x, (1, 1))).mean(2),
    "input normalised each": lambda m, x: m.conv((x - x.mean(2, keepdim=True)) / x.std(2, keepdim=True)).mean(2),
    "pooled input": lambda m, x: m.a(F.avg_pool1d(x, 4).flatten(1)).relu(),
    "positions picked": lambda m, x: m.out(m.conv(x).relu()[..., 1:3].mean(2)) + m.out(m.conv(x).relu()[:, :, 0]),
    "layer along positions": lambda m, x: m.out(m.conv(x).relu()),
    "channels moved": lambda m, x: m.conv(m.conv(x)[:, :3].roll(1, 1)),
    "channels flipped": lambda m, x: m.flat(m.conv(x).flip(1).flatten(1)),
    "channels shifted": lambda m, x: m.flat(F.pad(m.conv(x), (0, 0, 1, -1)).flatten(1)),
    "pooled last": lambda m, x: m.out(F.max_pool1d(m.conv(x).mT, 3, 1, 1)),
    "orders mixed": lambda m, x: m.flat(m.conv(x).flatten(1) + m.conv(x).mT.flatten(1)),
    "channels against positions": lambda m, x: m.out((m.conv(x) + m.conv(x).mT).mean(2)),
    "another axis of the input": lambda m, x: m.conv(x[:, :, :3].mT.mT).mean(2) * m.a(x[:, :, :3]).mean(1),
    "reduced channels": lambda m, x: m.a(m.conv(x).mean(1)[:, :3]),
    "largest positions": lambda m, x: m.out(m.conv(x).relu().topk(2).values.mean(2)),
    "positions in order": lambda m, x: m.flat(m.conv(x).sort(dim=2, descending=True).values.flatten(1)),
    "where the largest stand": lambda m, x: m.out((m.conv(x) * m.conv(x).topk(4, 2)[1]).mean(2)),
    "order of the positions": lambda m, x: m.out((m.conv(x) * m.conv(x).argsort(-1)).mean(2)),
    "input in order": lambda m, x: m.conv(x.sort(2).values).mean(2),
    "repeated input": lambda m, x: m.conv(x[:, :1].repeat(1, 3, 1)),
}


# a fixed matrix and sums in order tell all neurons apart; what mixes channels and positions is read more coarsely
STAYING = ("a matrix that is an attribute", "cumulative sum", "layer along positions", "channels moved")
STAYING = (
    *STAYING,
    "another axis of the input",
    "channels flipped",
    "pooled last",
    "orders mixed",
    "channels against positions",
)
STAYING = (*STAYING, "input in order", "padded input", "input normalised each", "pooled input")  # no hidden layer


@pytest.mark.parametrize("name", UNDERSTOOD)
def test_what_is_understood_converts(name: str) -> None:
    torch.manual_seed(1)
    alone = ("named outputs", "a parameter beside the output")
    net = Net(UNDERSTOOD[name]).double().eval()
    if name in alone:
        graph = conversions.to_graph(net, torch.randn(2, 3).double())
        x = torch.randn(5, 3, dtype=torch.float64)
        returned = net(x)
        expected = returned["y"] if isinstance(returned, dict) else returned[0]
        torch.testing.assert_close(conversions.execute(graph, x), expected)
        return
    assert_converts(net, (3,), moves=name not in STAYING)


@pytest.mark.parametrize("name", SPATIAL)
def test_what_is_understood_with_positions_converts(name: str) -> None:
    torch.manual_seed(2)
    assert_converts(Net(SPATIAL[name]).double().eval(), (3, 4), moves=name not in STAYING)


def assigned(m: Net, x: Tensor) -> Tensor:
    h = m.a(x)
    h[:, 0] = 0.0
    return m.out(h)


def filled(m: Net, x: Tensor) -> Tensor:
    buffer = torch.zeros(x.shape[0], 4)
    buffer[:, :2] = m.a(x)[:, :2]
    return m.out(buffer + m.a(x))


def part_in_place(m: Net, x: Tensor) -> Tensor:
    h = m.a(x)
    h[:, :2].relu_()
    return m.out(h)


def view_in_place(m: Net, x: Tensor) -> Tensor:
    h = m.norm(m.a(x))
    h.view(-1, 2, 2).relu_()
    return m.out(h)


def into_another(m: Net, x: Tensor) -> Tensor:
    target = torch.empty_like(m.a(x))
    torch.add(m.a(x), 1, out=target)
    return m.out(target)


def new_data(m: Net, x: Tensor) -> Tensor:
    h = m.norm(m.a(x))
    h.data = h.data * 2
    return m.out(h)


@torch.jit.script
def scripted(x: Tensor) -> Tensor:
    return torch.softmax(x, 1)


Refusal = tuple[Callable[..., object], str]
UNKNOWN = "conversions.register adds a rule"
REFUSED: dict[str, Refusal] = {
    "weight computed": (
        lambda m, x: F.linear(m.a(x), m.square @ m.square),
        r"linear .*computed in forward \(from 'square'\)",
    ),
    "weight of two": (
        lambda m, x: F.linear(m.a(x), m.square * m.places),
        r"linear .*computed in forward \(from 'square'\)",
    ),
    "scale computed": (lambda m, x: m.out(m.a(x) * m.gain.cumsum(0)), r"mul .*that the forward computes from 'gain'"),
    "part of a parameter": (lambda m, x: m.out(m.a(x) + m.square[1]), r"add .*that the forward computes from 'square'"),
    "expanded": (lambda m, x: m.out(m.a(x) + m.gain.expand(len(x), 4)), r"add .*that the forward computes from 'gain'"),
    "number of weights": (lambda m, x: m.out(m.a(x) * float(m.gain[0])), r"makes a number of 'gain'"),
    "list of weights": (lambda m, x: m.out(m.norm(m.a(x)) * m.gain.tolist()[0]), r"makes a number of 'gain'"),
    "an entry of a weight": (
        lambda m, x: m.out(m.a(x) * m.out.bias[0].item()).relu(),
        r"mul .*makes a number of 'out.bias', whose entries are weights of the graph",
    ),
    "slope as a tensor": (lambda m, x: m.out(F.leaky_relu(m.a(x), m.slope)), r"cannot trace Net.*depends on values"),
    "matmul of signals": (lambda m, x: m.a(x) @ m.a(x).t(), r"matmul .*of two signals"),
    "unknown option": (lambda m, x: F.gelu(m.norm(m.a(x)), approximate="no"), r"cannot trace Net.*approximate"),
    "another signature": (
        lambda m, x: m.out(torch.batch_norm(m.a(x), *[m.gain] * 4, False, 0.1, 0.1, False)),
        r"torch.batch_",
    ),
    "batch statistics": (
        lambda m, x: m.out(F.batch_norm(m.a(x), None, None, training=True)),
        r"batch_norm .*other inputs",
    ),
    "statistics written": (
        lambda m, x: m.out(F.batch_norm(m.a(x), m.batch.running_mean, m.batch.running_var, training=True)),
        r"batch_norm .*other inputs",
    ),
    "complex": (lambda m, x: m.out((m.a(x) * 1j).real), r"mul .*with a result of dtype torch.complex64"),
    "flatten all": (lambda m, x: m.a(torch.flatten(x)), r"cannot trace Net, in module 'a', at .*input of shape \[3\]"),
    "shape arithmetic": (
        lambda m, x: m.out(m.a(x).relu() / x.shape[0]),
        r"div .*the number of inputs enters its result",
    ),
    "made for the batch": (
        lambda m, x: m.out(m.a(x) + torch.arange(len(x))[:, None]),
        r"add .*for this number of inputs",
    ),
    "mean over the batch": (
        lambda m, x: m.out(m.norm(m.a(x)) - m.norm(m.a(x)).mean(0)),
        r"mean .*it reduces the batch",
    ),
    "softmax over the batch": (lambda m, x: m.out(F.softmax(m.a(x), 0)), r"softmax .*over the inputs of a batch"),
    "one of the batch": (lambda m, x: m.out(m.norm(m.a(x)))[0], r"getitem .*one entry of the batch"),
    "always dropping": (lambda m, x: m.out(F.dropout(m.a(x))), r"dropout .*pass training=self.training"),
    "unknown function": (
        lambda m, x: m.out(torch.special.zeta(m.a(x), 2.0)),
        r"zeta \(at test_operations.py:\d+\): .*not understood",
    ),
    "noise": (lambda m, x: m.out(m.a(x).relu() + torch.randn(1)), r"randn draws random numbers"),
    "noise like": (lambda m, x: m.out(m.a(x).relu() + torch.randn_like(m.a(x))), r"randn_like .*not understood"),
    "noise in place": (lambda m, x: m.out(m.a(x).relu() + torch.empty(4).uniform_()), r"uniform draws random numbers"),
    "in place on a parameter": (lambda m, x: m.out(m.a(x) * m.slope.mul_(2)), r"mul_ changes 'slope' in place"),
    "in place on a buffer": (lambda m, x: m.out(m.a(x) * m.power.add_(2)), r"add_ changes 'power' in place"),
    "in place on an attribute": (
        lambda m, x: m.out(m.a(x) * m.hidden[0].mul_(2)[0]),
        r"mul_ changes a tensor that the forward",
    ),
    "index assignment": (assigned, r"setitem changes a tensor in place"),
    "assignment into a buffer": (filled, r"setitem changes a tensor in place"),
    "part in place": (part_in_place, r"reads a view of a tensor that relu changed in place"),
    "view in place": (view_in_place, r"reads a view of a tensor that relu changed in place"),
    "out": (into_another, r"add writes its result into another tensor"),
    "data": (new_data, r"setting .* of a tensor is not followed"),
    "scripted": (lambda m, x: m.out(scripted(m.a(x))), r"torch.jit|aten._softmax"),
    "control flow": (
        lambda m, x: m.a(x) if x.sum() > 0 else m.b(x),
        r"cannot trace Net, at test_operations.*depends on values",
    ),
    "no layer": (lambda m, x: x, r"returns no tensor that it computes from its input"),
    "no weights": (lambda m, x: x.relu(), r"the output depends on no layer with weights"),
    "channels in order": (lambda m, x: m.out(m.a(x).topk(4).values), r"topk .*it orders the channels .*only positions"),
    "channels in order, by name": (lambda m, x: m.out(torch.sort(m.a(x), dim=1)[0]), r"sort .*it orders the channels"),
    "the batch in order": (lambda m, x: m.out(m.a(x).sort(0).values), r"sort .*or the batch of"),
}
REFUSED_WITH_POSITIONS: dict[str, Refusal] = {
    "pooled channels": (
        lambda m, x: m.flat(F.max_pool2d(m.conv(x), 3, 1, 1).flatten(1)),
        r"max_pool2d .*channels before them",
    ),
}


@pytest.mark.parametrize("name", [*REFUSED, *REFUSED_WITH_POSITIONS])
def test_what_is_not_understood_is_named(name: str) -> None:
    shape = (3,) if name in REFUSED else (3, 4)
    forward, message = (REFUSED | REFUSED_WITH_POSITIONS)[name]
    net = Net(forward).eval()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with pytest.raises(ValueError, match=message) as caught:
        conversions.to_graph(net, torch.randn(2, *shape))
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert torch.equal(net.hidden[0], torch.eye(4))
    if "not understood" in str(caught.value):
        assert UNKNOWN in str(caught.value)


def test_an_operation_in_place_reaches_every_name_of_a_tensor() -> None:
    class Offset(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            h = self.a(x)
            kept, copy = F.dropout(h, training=False), h.clone()
            h += 1
            F.relu_(copy)
            return kept

    graph = conversions.to_graph(Offset(), torch.randn(4, 3))
    assert graph.architecture.output_offset == 1
    assert graph.architecture.groups[-1].activation.name == "identity"


def test_signals_that_are_not_inputs() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(2, 2)

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return self.linear(x) * y

    with pytest.raises(ValueError, match=r"forward of Two reads more than one input \(x, y\)"):
        conversions.to_graph(Two())
