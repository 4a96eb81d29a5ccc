"""Set attention one element at a time, from Equations 6 to 8 of arXiv 1810.00825 without normalisation."""

import math

import torch

from graphws.nn.equivariant_linear import EquivariantLinear
from graphws.nn.set_attention import NeuronAttention, SetAttention


def slow_set_attention(layer: SetAttention, elements: torch.Tensor) -> torch.Tensor:
    """[d, in_channels] -> [d, channels]."""
    width = layer.key.out_features
    head = width // layer.heads
    query_weight, value_weight = layer.query_value.weight.split(width)
    query_bias, value_bias = layer.query_value.bias.split(width)
    out = []
    for own in elements:
        query = query_weight @ own + query_bias
        attended = []
        for h in range(layer.heads):
            rows = range(h * head, (h + 1) * head)
            exponentials = []
            for other in elements:
                key = layer.key.weight @ other
                exponentials.append((sum(query[c] * key[c] for c in rows) / math.sqrt(head)).exp())
            for c in rows:
                values = [value_weight[c] @ other + value_bias[c] for other in elements]
                weighted = sum(e * value for e, value in zip(exponentials, values, strict=True))
                attended.append(weighted / sum(exponentials))
        hidden = query + torch.stack(attended)
        out.append(hidden + (layer.out.weight @ hidden + layer.out.bias).clamp(min=0))
    return torch.stack(out)


def slow_neuron_attention(
    attention: NeuronAttention, linear: EquivariantLinear, tensors: list[torch.Tensor]
) -> list[torch.Tensor]:
    """What attention adds to each part of one network, [axes.., in_channels] -> [axes.., out_channels]."""
    reduce = {"mean": lambda t: t.mean(0), "sum": lambda t: t.sum(0), "max": lambda t: t.amax(0)}[linear.pool]
    groups = linear.architecture.groups
    out = [t.new_zeros(*t.shape[:-1], linear.out_channels) for t in tensors]
    for axis, group in enumerate(groups):
        if linear.space == "dws" and axis in (0, len(groups) - 1):
            continue
        members = [p for p, part in enumerate(linear.parts) if axis in part.axes]
        elements = []
        for neuron in range(group.size):
            features = []
            for p in members:
                part = linear.parts[p]
                own = tensors[p].select(part.axes.index(axis), neuron)  # [other axis, in] or [in]
                is_pooled = len(part.axes) == 2 and part.permuted[1 - part.axes.index(axis)]
                features.append(reduce(own) if is_pooled else own.flatten())
            elements.append(torch.cat(features))
        read = slow_set_attention(attention.attentions[str(axis)], torch.stack(elements))
        for neuron in range(group.size):
            values = (attention.outs[str(axis)].weight @ read[neuron]).split(
                [linear.parts[p].fixed * linear.out_channels for p in members]
            )
            for p, value in zip(members, values, strict=True):
                out[p].select(linear.parts[p].axes.index(axis), neuron).add_(
                    value.view(-1, linear.out_channels).squeeze(0)
                )
    return out
