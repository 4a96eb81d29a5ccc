"""Models that are not translated: one line that says why, and what would be."""

import math

import pytest
import torch
from torch import nn

from graphws.equivalence import translate
from graphws.equivalence.supported import NAMES, check_translatable, name_of
from graphws.models import DWS, GMN, HNPNFN, NFT, NGGNN, NPNFN, FlatMLP, Invariant, ScaleGMN
from tests.equivalence.cases import CLASSES, SMALL, model_of

ARCH = {"architecture": SMALL}


def with_module(name: str, module: nn.Module, *, training: bool = True) -> nn.Module:
    model = model_of("dws", SMALL)
    model.blocks[0].add_module(name, module)
    return model.train(training)


def with_value(value: float, kind: str = "dws") -> nn.Module:
    model = model_of(kind, SMALL)
    list(model.parameters())[-1].data[0] = value
    return model


REFUSED = {
    "default dws": (lambda: DWS(**ARCH), "(LayerNorm at .*: it divides .*; build DWS with norm=False|expected pool=)"),
    "default hnp": (lambda: HNPNFN(**ARCH), "LayerNorm at .*; build HNPNFN with norm=False"),
    "default np": (lambda: NPNFN(**ARCH), "LayerNorm at .*; build NPNFN with norm=False"),
    "default gmn": (lambda: GMN(), "LayerNorm at .*; build GMN with norm=False"),
    "default ng": (
        lambda: NGGNN(),
        "expected one of .*; found NGGNN, whose modulated messages multiply .*; GMN.new_ends=True",
    ),
    "norm": (lambda: model_of("ng-gnn", SMALL, norm=True), "LayerNorm at .*; build GMN with norm=False"),
    "silu": (lambda: model_of("gmn", SMALL, activation="silu"), "expected activation='relu', found another: the "),
    "silu, ng": (lambda: model_of("ng-gnn", SMALL, activation="silu"), "expected activation='relu', found another"),
    "max": (lambda: model_of("dws", SMALL, pool="max"), "expected pool='sum' or 'mean', found 'max'"),
    "heads": (lambda: model_of("dws", SMALL, attention_heads=1), "attention multiplies features, .* expected 0 heads"),
    "fourier": (lambda: model_of("np-nfn", SMALL, fourier_features=2), "Fourier features are sines"),
    "fourier, hnp": (lambda: model_of("hnp-nfn", SMALL, fourier_features=2), "Fourier .*expected fourier_features=0"),
    "state, ng": (lambda: model_of("ng-gnn", SMALL, global_state=True), "expected global_state=False beside new_ends"),
    "bias nodes": (lambda: model_of("gmn", SMALL, bias_nodes=True), "expected bias_nodes=False: bias nodes are layers"),
    "nft": (lambda: NFT(8, 1, 1, num_heads=2, **ARCH), "expected one of DWS, .*; found NFT; attention separates"),
    "invariant nft": (lambda: Invariant(NFT(8, 1, 1, num_heads=2, **ARCH), 2), "expected one of DWS, .*found NFT"),
    "scale": (lambda: ScaleGMN(4, 1, symmetry="sign"), "expected one of DWS, .*, or Invariant around one; found Scale"),
    "flat": (lambda: FlatMLP(**ARCH), "expected one of DWS, .*; found FlatMLP"),
    "linear": (lambda: nn.Linear(2, 2), "expected one of DWS, GMN, HNPNFN, NPNFN, or .*; found Linear"),
    "dropout": (lambda: with_module("drop", nn.Dropout(0.5)), "dropout is active at blocks.0.drop: .*eval"),
    "norm in training": (
        lambda: with_module("bn", nn.BatchNorm1d(3)),
        "batch normalisation at blocks.0.bn is in train",
    ),
    "batch norm": (
        lambda: with_module("bn", nn.BatchNorm1d(3), training=False),
        "batch normalisation at blocks.0.bn is not part of these models",
    ),
    "nan": (lambda: with_value(math.nan), "parameter last.linear.maps.. has NaN or infinite values"),
    "inf, gmn": (lambda: with_value(math.inf, "gmn"), "parameter edge_out.bias has NaN or infinite values"),
    "half": (lambda: model_of("dws", SMALL).half(), "expected parameters in float32 or float64, found torch.float16"),
    "bfloat": (lambda: model_of("gmn", SMALL).bfloat16(), "expected parameters in float32 or .*found torch.bfloat16"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_line_that_says_why(name):
    make, message = REFUSED[name]
    model = make()
    with pytest.raises(ValueError, match=f"^{message}") as found:
        translate(model, "gmn", architecture=SMALL)
    assert "\n" not in str(found.value)
    assert 20 < len(str(found.value)) < 220


def test_dropout_that_is_inactive_is_nothing():
    assert translate(with_module("drop", nn.Dropout(0.5), training=False), "hnp-nfn").translation.error < 1e-12
    assert translate(with_module("drop", nn.Dropout(0.0)), "hnp-nfn").translation.error < 1e-12


def test_dropout_in_the_readout_counts_too():
    model = Invariant(model_of("dws", SMALL), 2).double()
    model.readout.add_module("drop", nn.Dropout(0.1))
    with pytest.raises(ValueError, match="^dropout is active at readout.drop"):
        check_translatable(model)
    check_translatable(model.eval())


@pytest.mark.parametrize("kind", ["dws", "gmn"])
def test_a_piece_that_is_not_known_is_found_by_the_check(kind):
    """A nonlinearity put where there was none: the result would not have its function."""
    model = model_of(kind, SMALL)
    if kind == "dws":
        model.blocks[0].norms[0] = nn.Tanh()
    else:
        model.layers[0].node_norm = nn.Tanh()
    with pytest.raises(ValueError, match=r"^the translation differs by \d\.\de-\d+ in float64"):
        translate(model, "ng-gnn", architecture=SMALL)


def test_names():
    assert NAMES == CLASSES
    for name in NAMES:
        assert name_of(model_of(name, SMALL)) == name

    class Derived(DWS):
        pass

    torch.manual_seed(0)
    with pytest.raises(ValueError, match="found Derived$"):
        name_of(Derived(2, 1, architecture=SMALL))
