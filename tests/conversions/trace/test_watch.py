from __future__ import annotations

import pytest
import torch

from conversions.trace.watch import RefusedError, Watch, memory_of

STATE = {"w": torch.ones(3), "n": torch.tensor(2)}


def test_views_share_memory() -> None:
    x = torch.zeros(4)
    assert memory_of(x) == memory_of(x[1:]) != memory_of(x.clone())


def test_what_comes_from_the_state_dict_is_known() -> None:
    with Watch(STATE) as watch:
        computed, made = STATE["w"].exp() + 1, torch.zeros(3)
        made[0] = STATE["w"][1]
        of_shape, own = torch.zeros_like(STATE["w"]), torch.ones(2) * 3
        assert [watch.origin(x) for x in (computed, made, STATE["w"][:2], of_shape, own)] == ["w", "w", "w", None, None]


def test_only_what_the_forward_made_may_be_changed() -> None:
    outside = torch.zeros(2)
    with Watch(STATE):
        torch.zeros(3).add_(1)
        torch.tensor([1.0, 2.0]).mul_(2)
        with pytest.raises(RefusedError, match="add_ changes 'w' in place"):
            STATE["w"].view(3, 1).add_(1)
        with pytest.raises(RefusedError, match="zero_ changes a tensor that the forward did not make in place"):
            outside.zero_()
    assert torch.equal(STATE["w"], torch.ones(3))


def test_numbers_of_weights_are_refused_those_of_counters_are_not() -> None:
    with Watch(STATE, [STATE["w"]]):
        assert int(STATE["n"]) == 2
        assert float(torch.ones(1)) == 1.0
        with pytest.raises(RefusedError, match="it makes a number of 'w', a parameter"):
            float(STATE["w"].sum())
    with Watch(STATE):
        assert float(STATE["w"].sum()) == 3.0


def test_operations_on_signals_outside_of_functions_are_refused() -> None:
    signal = torch.empty(2, device="meta")
    with Watch(STATE) as watch:
        with pytest.raises(RefusedError, match="relu runs where functions of torch are not seen"):
            torch.relu(signal)
        with watch.inside():
            torch.relu_(signal)
        assert watch.written == {memory_of(signal)}
