"""Recorded forward passes on many networks at once, against the modules themselves."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import conversions
from graphws import Batch, EdgeBlock
from graphws.functional import node_values, realise
from graphws.programs import AT_ONCE, has_program, input_shape_of, signals_of_groups
from graphws.symmetry.permutations import Symmetry
from graphws.testing.equivariance import random_graph
from tests.conv_chains import chain
from tests.recorded_cnns import CHAINS, CNNS, SIZE, batch_of, networks

CLOSE = {"rtol": 1e-12, "atol": 1e-13}


@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize("name", CNNS)
def test_networks_answer_what_their_modules_do(name, grouped, monkeypatch):
    monkeypatch.setitem(AT_ONCE, "cpu", grouped)
    modules, graphs = networks(name, 3)
    batch, x = Batch.from_graphs(graphs), torch.randn(4, *SIZE, dtype=torch.float64)
    expected = torch.stack([module(x) for module in modules])
    assert (expected[0] - expected[1]).abs().max() > 1e-3
    torch.testing.assert_close(realise(batch, x), expected, **CLOSE)
    torch.testing.assert_close(realise(batch, x), torch.stack([conversions.execute(g, x) for g in graphs]), **CLOSE)
    own = torch.randn(3, 4, *SIZE, dtype=torch.float64)
    each = torch.stack([module(points) for module, points in zip(modules, own, strict=True)])
    torch.testing.assert_close(realise(batch, own), each, **CLOSE)


def test_channels_are_networks_and_an_offset_is_added():
    modules, graphs = networks("pooled", 4)
    x = torch.randn(3, *SIZE, dtype=torch.float64)
    pairs = [torch.cat([graphs[i].x, graphs[i + 1].x], 1) for i in (0, 2)]
    edges = [torch.cat([graphs[i].edge_attr, graphs[i + 1].edge_attr], 1) for i in (0, 2)]
    arch = replace(graphs[0].architecture, output_offset=0.5)
    found = realise(Batch.from_stack(arch, torch.stack(pairs), torch.stack(edges)), x)
    expected = torch.stack([module(x) for module in modules]).unflatten(0, (2, 2)) + 0.5
    torch.testing.assert_close(found, expected, **CLOSE)


@pytest.mark.parametrize("grouped", [True, False])
def test_gradients_of_weights_and_inputs_are_those_of_the_module(grouped, monkeypatch):
    monkeypatch.setitem(AT_ONCE, "cpu", grouped)
    modules, graphs = networks("normalised", 2)
    batch = Batch.from_graphs(graphs)
    x = torch.randn(3, *SIZE, dtype=torch.float64, requires_grad=True)
    leaf = batch.edge_attr.clone().requires_grad_()
    realise(batch.replace(batch.x, leaf), x).square().sum().backward()
    (expected,) = torch.autograd.grad(sum(module(x).square().sum() for module in modules), x)
    torch.testing.assert_close(x.grad, expected, **CLOSE)
    weight = modules[0][0].weight.requires_grad_()
    (kernel,) = torch.autograd.grad(modules[0](x.detach()).square().sum(), weight)
    torch.testing.assert_close(leaf.grad[: kernel.numel()].flatten(), kernel.flatten(), **CLOSE)


@pytest.mark.parametrize("name", CHAINS)
def test_values_of_neurons_are_means_of_what_the_module_computes(name):
    modules, graphs = networks(name, 2)
    x = torch.randn(3, *SIZE, dtype=torch.float64)
    found = node_values(Batch.from_graphs(graphs), x).unflatten(0, (2, -1))
    for module, values in zip(modules, found, strict=True):
        arch, signal = graphs[0].architecture, x
        seen = [x.mean((2, 3)).T]
        group = 1
        for i, layer in enumerate(module):
            signal = layer(signal)
            if any(True for _ in layer.parameters()):
                after = module[i + 1](signal) if arch.groups[group].activation.name != "identity" else signal
                seen.append(after.flatten(2).mean(2).T if after.dim() > 2 else after.T)
                group += 1
        torch.testing.assert_close(values, torch.cat(seen), **CLOSE)


def test_values_of_a_residual_sum_are_those_behind_it():
    (module,), (graph,) = networks("residual", 1)
    x = torch.randn(3, *SIZE, dtype=torch.float64)
    first = torch.relu(module.first(x))
    inner = torch.relu(module.a(first))
    both = torch.relu(first + module.b(inner))
    signals = [x, first, inner, both]
    expected = torch.cat([*(signal.mean((2, 3)).T for signal in signals), module(x).T])
    torch.testing.assert_close(node_values(Batch.from_graphs([graph]), x), expected, **CLOSE)


def test_values_move_with_the_neurons():
    (graph,) = networks("normalised", 1)[1]
    symmetry = Symmetry(graph.architecture)
    element = symmetry.sample(torch.Generator().manual_seed(0))
    x = torch.randn(3, *SIZE, dtype=torch.float64)
    there = node_values(Batch.from_graphs([symmetry.act(element, graph)]), x)
    here = node_values(Batch.from_graphs([graph]), x)
    moved = symmetry.act(element, Batch.from_graphs([graph]).replace(here, graph.edge_attr)).x
    torch.testing.assert_close(there, moved, **CLOSE)
    assert (there - here).abs().max() > 1e-3


def test_one_structure_and_two_forward_passes_are_two_kinds_of_networks():
    torch.manual_seed(0)
    pools = [nn.AdaptiveAvgPool2d(1), nn.AdaptiveMaxPool2d(1)] * 2
    modules = [nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), p, nn.Flatten(), nn.Linear(4, 3)).double() for p in pools]
    x = torch.randn(2, *SIZE, dtype=torch.float64)
    batch = Batch.from_graphs([conversions.to_graph(module, example_input=x) for module in modules])
    assert batch.is_homogeneous
    assert len(batch.distinct_architectures) == 2
    torch.testing.assert_close(realise(batch, x), torch.stack([module(x) for module in modules]), **CLOSE)
    own = torch.randn(4, 2, *SIZE, dtype=torch.float64)
    each = torch.stack([module(points) for module, points in zip(modules, own, strict=True)])
    torch.testing.assert_close(realise(batch, own), each, **CLOSE)


def test_what_cannot_be_run_is_said():
    batch = batch_of("pooled")
    assert has_program(batch.architecture)
    assert input_shape_of(batch.architecture) == SIZE
    with pytest.raises(ValueError, match=r"inputs must be of shape \[M, 1, 8, 8\] or .* \(found \[2, 1, 9, 8\]\)"):
        realise(batch, torch.randn(2, 1, 9, 8))
    with pytest.raises(ValueError, match="expected inputs of their own for 3 networks, found 2"):
        realise(batch, torch.randn(2, 4, *SIZE))
    with pytest.raises(ValueError, match="convolution kernels, of which no forward pass is recorded"):
        realise(Batch.from_graphs([random_graph(chain([1, 2, 1], [(2, 2), ()]))]), torch.randn(2, *SIZE))
    shrunk = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Hardshrink(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 1))
    graph = conversions.to_graph(shrunk, example_input=torch.randn(1, *SIZE))
    with pytest.raises(ValueError, match="'hardshrink' of Architecture.* is not run on many networks"):
        realise(Batch.from_graphs([graph]), torch.randn(2, *SIZE))
    arch = batch.architecture
    gated = replace(arch, blocks=(*arch.blocks[:2], EdgeBlock("gate", 0, 2, (), 1, "gate"), *arch.blocks[2:]))
    with pytest.raises(ValueError, match="what the neurons of '3' of .* compute is no step of its own"):
        signals_of_groups(gated)
