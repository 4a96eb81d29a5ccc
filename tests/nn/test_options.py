import dataclasses

import pytest

from graphws import Architecture
from graphws.cli.config import build
from graphws.models import DWS, GMN, HNPNFN, NPNFN, Invariant, num_parameters
from graphws.nn import Options
from graphws.nn.options import Flags
from graphws.testing.equivariance import random_batch

WIDTHS = [2, 3, 1]
MODELS = {
    "GMN": lambda **given: GMN(4, 2, global_state=True, **given),
    "DWS": lambda **given: DWS(4, 2, architecture=WIDTHS, **given),
    "HNPNFN": lambda **given: HNPNFN(4, 2, architecture=WIDTHS, **given),
    "NPNFN": lambda **given: NPNFN(4, 2, architecture=WIDTHS, **given),
}
CHOICES = [{"norm": False}, {"residual": False}, {"sparse": True}, {"activation": "relu"}]


@pytest.mark.parametrize("choice", CHOICES, ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_an_object_a_mapping_and_a_flag_are_one_choice(name, choice):
    ways = {"options": Options(**choice)}, {"options": choice}, choice, {"options": Options(), **choice}
    models = [MODELS[name](**way).double() for way in ways]
    for model in models[1:]:
        model.load_state_dict(models[0].state_dict())
    batch = random_batch(Architecture.mlp(WIDTHS), 2)
    first, *others = (model(batch) for model in models)
    for out in others:
        assert first.x.equal(out.x)
        assert first.edge_attr.equal(out.edge_attr)


def test_a_flag_is_put_over_the_object():
    model = GMN(4, 2, options=Options(norm=False, activation="relu"), norm=True)
    assert num_parameters(model) == num_parameters(GMN(4, 2))
    assert num_parameters(model) > num_parameters(GMN(4, 2, norm=False))
    assert model.layers[0].activation is GMN(4, 2, activation="relu").layers[0].activation


def test_options_are_frozen_and_flags_are_their_fields():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Options().norm = False  # type: ignore[misc]
    assert [field.name for field in dataclasses.fields(Options)] == list(Flags.__annotations__)
    assert hash(Options(norm=False)) == hash(Options(norm=False)) != hash(Options())


def test_what_is_no_choice_is_refused():
    for value in ("layer", None, 1):
        with pytest.raises(ValueError, match=f"expected norm to be True or False, found {value!r}"):
            Options(norm=value)
    with pytest.raises(ValueError, match="unknown activation 'tanh'; known: silu, relu"):
        GMN(4, 2, activation="tanh")
    with pytest.raises(TypeError, match="unexpected argument 'nrom'; beside a model's own there are activation, norm"):
        GMN(4, 2, nrom=False)
    with pytest.raises(TypeError, match="unexpected argument 'nrom'"):
        GMN(4, 2, options={"nrom": False})
    for name in ("DWS", "HNPNFN", "NPNFN"):
        with pytest.raises(ValueError, match=f"{name} has ReLU between its layers and nothing else, found .*'silu'"):
            MODELS[name](activation="silu")
        with pytest.raises(ValueError, match=f"checkpoint is for models that pass messages; {name} passes none"):
            MODELS[name](checkpoint=True)


def test_a_configuration_has_a_mapping_or_flags():
    inner = {"class_path": "graphws.models.GMN", "init_args": {"hidden_channels": 4, "num_layers": 2}}
    for options in ({"options": {"norm": False, "sparse": True}}, {"options": {"norm": False}, "sparse": True}):
        node = {**inner, "init_args": {**inner["init_args"], **options}}
        model = build({"class_path": "graphws.models.Invariant", "init_args": {"model": node, "out_channels": 2}})
        assert isinstance(model, Invariant)
        assert num_parameters(model.model) == num_parameters(GMN(4, 2, norm=False, sparse=True))
    with pytest.raises(ValueError, match=r"graphws.models.GMN: unexpected argument 'nrom'; .* activation, norm"):
        build({**inner, "init_args": {"options": {"nrom": True}}})
