from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch

from graphws.expressivity.auditing import Auditor, audit
from graphws.expressivity.counting import EXAMPLES
from graphws.expressivity.general_position import CRITERIA, general_position
from graphws.expressivity.quantisation import SCHEMES, birthday, quantise, quantised_codes
from graphws.testing.equivariance import random_batch
from graphws.types.architecture import Architecture, EdgeBlock
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph
from tests.tied_networks import EIGHT, between, whole, wholes

ARCH = Architecture.mlp([2, 6, 5, 1])


def test_counts_are_those_of_each_network(generator: torch.Generator) -> None:
    batch = random_batch(ARCH, 30, generator=generator)
    found = audit(batch, [32, 4, 2])
    assert [p.bits for p in found.precisions] == [None, 32, 4, 2]
    (part,) = found.architectures
    for precision, summary in zip(part.precisions, found.precisions, strict=True):
        networks = batch if precision.bits is None else quantised_codes(batch, precision.bits)
        alone = [general_position(networks.get_example(i)) for i in range(30)]
        for c, name in enumerate(CRITERIA):
            assert precision.satisfied[name] == sum(bool(p.satisfied[c, 0]) for p in alone)
            assert precision.shares[name] == summary.shares[name] == precision.satisfied[name] / 30
            ties = [tie for p in alone for tie in p.ties(name, 0)]
            for layer in part.layers:
                mine = [tie for tie in ties if tie.layer == layer]
                assert precision.tied_neurons[name][layer] == sum(len(tie.neurons) for tie in mine)
            assert precision.ties[name] == {
                layer: sum(not bool(p.by_layer[c, 0, i]) for p in alone) for i, layer in enumerate(part.layers)
            }
    assert found.precisions[0].birthday == pytest.approx(1)
    assert found.precisions[3].birthday == birthday(ARCH, 2) == 0
    assert found.precisions[2].shares["GP1"] < 1
    assert json.loads(json.dumps(found.as_dict()))["architectures"][0]["networks"] == 30


def test_the_scheme_is_taken_and_told(generator: torch.Generator) -> None:
    batch = random_batch(ARCH, 60, generator=generator)
    for scheme in SCHEMES:
        found = audit(batch, [6], scheme=scheme)
        expected = general_position(quantised_codes(batch, 6, scheme=scheme)).satisfied[0].sum()
        assert found.architectures[0].precisions[1].satisfied["GP1"] == int(expected)
        assert found.as_dict()["scheme"] == scheme
    satisfied = [audit(batch, [6], scheme=scheme).precisions[1].shares["GP1"] for scheme in SCHEMES]
    assert satisfied[0] < satisfied[1], "the range from minimum to maximum is divided more finely"


def test_every_kind_of_input_gives_one_answer(generator: torch.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = wholes(ARCH, 1, 21, generator)

    def chunks() -> Iterator[Batch]:
        yield from (Batch.from_graphs([batch.get_example(i) for i in range(s, s + 7)]) for s in (0, 7, 14))

    whole_batch = audit(batch, [3])
    assert audit(chunks(), [3]) == whole_batch
    assert audit([batch.get_example(i) for i in range(21)], [3]) == whole_batch
    monkeypatch.setattr("graphws.symmetry.refinement.chunks_of.__defaults__", (1,))
    assert audit(batch, [3]) == whole_batch
    assert audit(batch.get_example(0)).networks == 1


def test_ties_are_named_with_the_caller_s_numbers(generator: torch.Generator) -> None:
    graphs = [random_batch(ARCH, 1, generator=generator)[0] for _ in range(12)]
    tied = (2, 4, 5, 7, 9, 10, 11)
    for i in tied:
        graphs[i].x[2 + i % 3] = graphs[i].x[7]
    auditor = Auditor()
    for start in (0, 6):
        auditor.add(Batch.from_graphs(graphs[start : start + 6]), range(100 + start, 106 + start))
    found = auditor.result().architectures[0].precisions[0]
    assert [tie.network for tie in found.examples["GP1"]] == [100 + i for i in tied[:EXAMPLES]]
    assert {tie.layer for tie in found.examples["GP1"]} == {"hidden_1"}
    assert found.examples["GP1"][0].neurons == (2, 5)
    assert found.examples["GP2"] == ()


@pytest.mark.parametrize("cut", [0, 1, 3, 9])
def test_parts_that_are_audited_apart_are_one_audit(cut: int, generator: torch.Generator, tied: Architecture) -> None:
    graphs = [whole(ARCH if i % 3 else tied, i * 7, generator) for i in range(9)]
    parts = []
    for start, own in ((0, graphs[:cut]), (cut, graphs[cut:])):
        auditor = Auditor([3], first=start)
        if own:
            auditor.add(Batch.from_graphs(own))
        parts.append(auditor)
    parts[0].merge(parts[1])
    assert parts[0].result() == audit(Batch.from_graphs(graphs), [3])


def test_mixed_architectures_are_audited_apart(generator: torch.Generator, tied: Architecture) -> None:
    graphs = [whole(ARCH, 50, generator), whole(tied, 0, generator), between(EIGHT), whole(ARCH, 0, generator)]
    graphs.append(whole(Architecture.mlp([2, 1]), 1, generator))
    found = audit(Batch.from_graphs(graphs))
    assert [part.networks for part in found.architectures] == [2, 1, 1, 1]
    assert [part.layers for part in found.architectures] == [
        ("hidden_1", "hidden_2"), ("stem", "inner"), ("hidden_1", "hidden_2"), (),
    ]  # fmt: skip
    assert found.architectures[3].precisions[0].shares == dict.fromkeys(CRITERIA, 1.0)
    assert found.precisions[0].shares["GP5"] == 2 / 5
    assert found.architectures[2].precisions[0].examples["GP5"][0].network == 2
    assert found.architectures[1].precisions[0].examples["GP5"][0].layer == "stem"


def test_quantised_sums_are_exact() -> None:
    """Codes 1 + 4 and 2 + 3 tie under GP2; their multiples of a step in float32 do not."""
    graph = between([[0.1, 0.4], [0.2, 0.3], [0.7, 0.0]])
    graph.x[1:3, 0] = torch.tensor([0.0, 1.0])
    found = audit(graph, [4]).architectures[0].precisions[1]
    assert found.ties["GP2"]["hidden_2"] == 1
    assert found.ties["GP3"]["hidden_2"] == 0
    assert general_position(quantise(graph, 4)).satisfied[1, 0], "in floats the sums differ by rounding"


def test_bad_input(generator: torch.Generator, random_graph: Callable[..., NetGraph]) -> None:
    for nothing in ([], iter(())):
        with pytest.raises(ValueError, match="expected networks to audit, found none"):
            audit(nothing)
    graphs = [random_graph(ARCH) for _ in range(5)]
    graphs[3].x[4] = float("nan")
    with pytest.raises(ValueError, match="network 3 has 1 NaN or infinite weights"):
        audit([Batch.from_graphs(graphs[:2]), Batch.from_graphs(graphs[2:])])
    with pytest.raises(ValueError, match="bits must be a whole number"):
        audit(graphs[0], [1])
    with pytest.raises(ValueError, match=r"bit widths must differ, found \[8, 8\]"):
        audit(graphs[0], [8, 8])
    with pytest.raises(ValueError, match="expected networks or batches of them, found int"):
        audit([3])
    with pytest.raises(ValueError, match="one channel"):
        audit(random_graph(ARCH, channels=2))
    arch = Architecture.mlp([2, 2, 2])
    diagonal = replace(arch, blocks=(arch.blocks[0], EdgeBlock("own", 1, 2, groups=2)), tensors=())
    with pytest.raises(ValueError, match="dense blocks, without grouped or diagonal ones"):
        audit(whole(diagonal, 1, generator))
