from __future__ import annotations

from pathlib import Path

import pytest
import torch

from graphws.models import GMN
from graphws.nn import SparseLinear
from graphws.tasks import EditTask, ZooDataModule
from graphws.tasks.common import check_state
from tests.tasks.test_edit import trainer
from tests.tiny_zoo import tiny_zoo


def sparse_task(data: ZooDataModule, *, share: float = 0.0) -> EditTask:
    """An edit with a sparse model that has a share of the entries of its maps."""
    model = GMN(4, 1, 2, sparse=True)
    for layer in model.modules():
        if isinstance(layer, SparseLinear) and share:
            places = (torch.rand(layer.out_features, layer.in_features) < share).nonzero().T
            layer.set_entries(places[0], places[1], torch.randn(places.size(1)) / 4)
    return EditTask(model, "dilation", architecture=data.architecture)


def test_a_sparse_model_trains_resumes_and_loads_from_checkpoints(tmp_path: Path) -> None:
    data = ZooDataModule(tiny_zoo(tmp_path / "zoo"), 4, seed=0)
    torch.manual_seed(0)
    task = sparse_task(data, share=0.5)
    before = {name: tensor.clone() for name, tensor in task.state_dict().items()}
    fitted = trainer(tmp_path, max_epochs=1)
    fitted.fit(task, datamodule=data)
    path = tmp_path / "sparse.ckpt"
    fitted.save_checkpoint(path)
    after = task.state_dict()
    for name in (name for name in after if name.endswith((".rows", ".columns"))):
        assert torch.equal(after[name], before[name])
    changed = [name for name in after if name.endswith(".values") and not torch.equal(after[name], before[name])]
    assert len(changed) == sum(isinstance(layer, SparseLinear) for layer in task.modules())

    fresh = sparse_task(data)
    found = trainer(tmp_path).test(fresh, datamodule=data, ckpt_path=path, verbose=False, weights_only=True)
    assert found == trainer(tmp_path).test(task, datamodule=data, verbose=False)
    resumed = sparse_task(data)
    trainer(tmp_path, max_epochs=2).fit(resumed, datamodule=data, ckpt_path=path, weights_only=True)
    assert any(not torch.equal(resumed.state_dict()[name], after[name]) for name in changed)
    assert all(resumed.state_dict()[name].shape == after[name].shape for name in changed)


def test_a_state_of_other_entries_belongs_to_a_sparse_model_and_one_of_none_does_not() -> None:
    model, other = GMN(4, 1, sparse=True), GMN(4, 1, sparse=True)
    other.node_in.set_entries(torch.tensor([1, 3]), torch.tensor([0, 0]), torch.ones(2))
    state = other.state_dict()
    check_state(model, state, "here")
    name = "node_in.rows"
    for rows, message in (
        (torch.tensor([1, 4]), r"here is of another model: 'node_in': expected rows in \[0, 4\).*found 1 to 4"),
        (torch.tensor([1, 1]), r"'node_in': expected every entry once, found \(1, 0\) more than once"),
        (torch.tensor([1]), "'node_in': expected rows, columns and values of one shape"),
    ):
        with pytest.raises(ValueError, match=message):
            check_state(model, {**state, name: rows}, "here")
    with pytest.raises(ValueError, match=f"it lacks '{name}'"):
        check_state(model, {key: value for key, value in state.items() if key != name}, "here")
    with pytest.raises(ValueError, match=r"'node_out.bias' is of shape \[2\] there and \[1\] in the model"):
        check_state(model, {**state, "node_out.bias": torch.zeros(2)}, "here")
    with pytest.raises(ValueError, match=r"it has a tensor the model does not know, 'node_in.rows'|it lacks"):
        check_state(GMN(4, 1), state, "here")
    with pytest.raises(ValueError, match="of another model"):
        check_state(model, GMN(4, 1).state_dict(), "here")
