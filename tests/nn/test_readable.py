from dataclasses import replace

import pytest

from graphws import Architecture, Batch, EdgeBlock, NodeGroup
from graphws.nn.readable import as_architecture, as_mlp, check_architecture
from graphws.testing.equivariance import random_graph
from tests.conv_chains import CHAINS, chain, normed


@pytest.mark.parametrize("name", CHAINS)
def test_chains_are_taken_as_they_are(name):
    assert as_architecture(CHAINS[name]) is CHAINS[name]
    check_architecture(CHAINS[name], Batch.from_graphs([random_graph(CHAINS[name])]))
    with pytest.raises(ValueError, match="Aligned takes an MLP, a chain of dense blocks; got Architecture"):
        as_mlp(CHAINS[name], "Aligned")


def test_widths_stand_for_an_mlp():
    assert as_architecture([2, 3, 1]) == Architecture.mlp([2, 3, 1]) == as_mlp([2, 3, 1], "this")


def with_blocks(arch, *blocks):
    return replace(arch, blocks=tuple(sorted((*arch.blocks, *blocks), key=lambda block: block.target)))


STREAM = chain([1, 4, 5, 4, 2], [(3,), (3,), (3,), ()])
REFUSED = {
    "a grouped convolution": (
        replace(STREAM, blocks=(STREAM.blocks[0], replace(STREAM.blocks[1], groups=2), *STREAM.blocks[2:])),
        r"edge block 'layer_1' \(weight, 2 groups\) is none of them",
    ),
    "a residual sum over two layers": (
        with_blocks(
            replace(STREAM, groups=(*STREAM.groups[:3], replace(STREAM.groups[3], factor=0), STREAM.groups[4])),
            EdgeBlock("skip", 1, 3, (), 4, "identity"),
        ),
        "edge block 'layer_2' joins neurons that another one joins",
    ),
    "a layer between tied neurons": (
        replace(
            chain([1, 4, 4, 2], [(3,), (3,), ()]),
            groups=tuple(replace(g, factor=g.factor and 0) for g in chain([1, 4, 4, 2], [(3,), (3,), ()]).groups),
        ),
        "edge block 'layer_1' joins neurons with themselves",
    ),
    "neurons of a concatenation": (
        replace(
            STREAM,
            groups=(*STREAM.groups[:2], NodeGroup("both", 5, runs=((0, 0, 1, 4),)), *STREAM.groups[3:]),
        ),
        "node group 'both' has neurons that other layers have too",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_chain_is_refused_by_its_name(name):
    arch, sentence = REFUSED[name]
    with pytest.raises(ValueError, match=f"set-based layers take chains of .*{sentence} of Architecture"):
        as_architecture(arch)


def test_a_batch_of_other_layers_is_refused():
    for other, words in [
        (normed(kernel=(2,)), "kernels 3, .*there are kernels 2, "),
        (normed((3, 5)), "built for .*the batch holds"),
        (chain([1, 3, 3, 3, 4, 4, 2], [()] * 6), "built for .*the batch holds"),
    ]:
        with pytest.raises(ValueError, match=words):
            check_architecture(normed(), Batch.from_graphs([random_graph(other)]))
