import pytest
import torch

from graphws import Architecture
from graphws.nn.encoding import sinusoids
from graphws.nn.equivariant_linear import EquivariantLinear, parts_of
from graphws.nn.io_encoding import IOEncoding

KINDS = ["sinusoidal", "learned"]


def zeros(parts, channels):
    return [torch.zeros(1, *part.sizes, channels, dtype=torch.float64) for part in parts]


@pytest.mark.parametrize("kind", KINDS)
def test_entries_of_inputs_and_outputs_are_told_apart_and_hidden_ones_are_not(kind):
    arch = Architecture.mlp([5, 3, 4, 2])
    parts = parts_of(arch, "np")
    encoding = IOEncoding(arch, 6, parts, kind=kind).double()
    added = dict(zip((part.name for part in parts), (t[0] for t in encoding(zeros(parts, 6))), strict=True))
    for name in ("bias_1", "bias_2", "weight_2"):
        assert added[name].abs().max() == 0
    inputs, outputs, biases = added["weight_1"], added["weight_3"], added["bias_3"]
    assert torch.equal(inputs, inputs[:1].expand(3, -1, -1))
    assert torch.equal(outputs, outputs[:, :1].expand(-1, 4, -1))
    for rows in (inputs[0], outputs[:, 0], biases):
        distances = torch.cdist(rows, rows) + torch.eye(len(rows), dtype=torch.float64)
        assert distances.min() > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_one_weight_layer_has_both_ends(kind):
    arch = Architecture.mlp([3, 2], bias=False)
    parts = parts_of(arch, "np")
    encoding = IOEncoding(arch, 4, parts, kind=kind).double()
    outputs, inputs = (table.data for table in encoding.tables)
    if kind == "sinusoidal":
        outputs, inputs = (
            sinusoids(torch.arange(1, n + 1)).float() @ t for n, t in ((2, outputs.float()), (3, inputs.float()))
        )
    (found,) = encoding(zeros(parts, 4))
    expected = outputs.double()[:, None] + inputs.double()[None]
    torch.testing.assert_close(found[0], expected, rtol=1e-5, atol=1e-5)


def test_sinusoids_tell_many_inputs_apart():
    arch = Architecture.mlp([784, 2, 1])
    parts = parts_of(arch, "np")
    rows = IOEncoding(arch, 64, parts)(zeros(parts, 64))[2][0, 0]
    assert (torch.cdist(rows, rows) + 10 * torch.eye(784)).min() > 0.05


@pytest.mark.parametrize("widths", [[4, 3, 2], [3, 2, 2, 3], [3, 2]])
def test_what_is_added_behind_the_first_layer_is_what_channels_before_it_would_give(widths):
    arch = Architecture.mlp(widths)
    parts = parts_of(arch, "np")
    slots = [sinusoids(torch.arange(1, size + 1)) for size in (widths[0], widths[-1])]
    channels = []  # the encoding as input channels, as the paper has it
    for part in parts:
        value = torch.zeros(1, *part.sizes, slots[0].size(1), dtype=torch.float64)
        if part.name == "weight_1":
            value = value + slots[0]
        if part.axes[0] == len(widths) - 1:
            value = value + (slots[1][:, None] if len(part.axes) == 2 else slots[1])
        channels.append(value)
    linear = EquivariantLinear(arch, slots[0].size(1), 1, space="np").double()
    encoding, constants = IOEncoding(arch, 1, parts).double(), EquivariantLinear(arch, 1, 1, space="np").double()

    def joined(tensors):
        return torch.cat([t.flatten() for t in tensors])

    before = span(linear, lambda: joined(linear.on_parts(channels)))
    tables = span(encoding, lambda: joined(encoding(zeros(parts, 1))))
    behind = torch.cat([tables, span(constants, lambda: joined(constants.on_parts(zeros(parts, 1))))])
    ranks = [int(torch.linalg.matrix_rank(rows, rtol=1e-5)) for rows in (before, behind, torch.cat([before, behind]))]
    assert ranks[0] == ranks[1] == ranks[2]


def span(module, value):
    """What single parameters of a module give, a row each."""
    rows = []
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        for parameter in module.parameters():
            flat = parameter.view(-1)
            for i in range(flat.numel()):
                flat[i] = 1
                rows.append(value())
                flat[i] = 0
    return torch.stack(rows)


def test_unknown_kinds_are_named():
    arch = Architecture.mlp([2, 3, 1])
    with pytest.raises(ValueError, match="unknown kind 'none'; known: sinusoidal, learned"):
        IOEncoding(arch, 4, parts_of(arch, "np"), kind="none")
