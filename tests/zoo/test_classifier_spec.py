from __future__ import annotations

from pathlib import Path

import pytest
import torch

from graphws.zoo.classifier_spec import RANDOM_CHANNELS, Classifier, ClassifierSpec, Layer, random_spec, read_spec


def test_the_small_cnn_has_the_published_size() -> None:
    spec = read_spec("cnn-small", (1, 28, 28), 10)
    assert [tuple(p.shape) for p in Classifier(spec).parameters()] == [*spec.shapes.values()]
    assert sum(p.numel() for p in Classifier(spec).parameters()) == 4970
    assert all(layer.padding == 0 for layer in spec.layers)
    assert all(layer.padding == 1 for layer in read_spec("cnn-small", (1, 8, 8), 10).layers)


@pytest.mark.parametrize("seed", range(12))
def test_random_architectures_can_be_built_and_are_in_range(seed: int) -> None:
    spec = random_spec((1, 28, 28), 10, torch.Generator().manual_seed(seed))
    assert 2 <= len(spec.layers) <= 5
    assert all(layer.channels in RANDOM_CHANNELS for layer in spec.layers)
    assert Classifier(spec)(torch.rand(2, 1, 28, 28)).shape == (2, 10)
    assert spec == random_spec((1, 28, 28), 10, torch.Generator().manual_seed(seed))


def test_random_architectures_differ_and_some_have_residuals() -> None:
    drawn = [random_spec((1, 28, 28), 10, torch.Generator().manual_seed(seed)) for seed in range(60)]
    assert len({*drawn}) > 50
    assert len({spec.activation for spec in drawn}) == 5
    assert 0 < sum(any(layer.residual is not None for layer in spec.layers) for spec in drawn) < 30


def test_a_file_says_the_layers(tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_text(
        "activation: gelu\nlayers:\n- {conv: 4, kernel: 5, stride: 2, padding: 2}\n- {conv: 4, padding: 1}\n"
        "- {conv: 4, padding: 1, residual: 0}\n- {dense: 6}\n"
    )
    spec = read_spec(str(path), (3, 9, 8), 7)
    layers = (Layer(4, 5, 2, 2), Layer(4, 3, 1, 1), Layer(4, 3, 1, 1, 0), Layer(6))
    assert spec == ClassifierSpec((3, 9, 8), layers, 7, "gelu")
    module = Classifier(spec)
    assert module(torch.rand(2, 3, 9, 8)).shape == (2, 7)
    # 5 x 4 positions behind the first layer
    assert spec.multiplications == 20 * (4 * 3 * 25 + 2 * 4 * 4 * 9) + 4 * 6 + 6 * 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layers: []", "expected a mapping with 'layers'"),
        ("- 3", "expected a mapping with 'layers'"),
        ("layers: {conv: 3}", "'layers' must be a list, found dict"),
        ("layers: [{conv: 3, size: 2}]", "expected a layer as"),
        ("layers: [{conv: 3.5}]", "conv must be a whole number, found 3.5"),
        ("layers: [{conv: true}]", "conv must be a whole number, found True"),
        ("layers: [{conv: 0}]", "layer 0: channels must be from 1 to 4096, found 0"),
        ("layers: [{conv: 3, kernel: 9}]", "layer 0: a kernel of 9 with padding 0 does not fit on 8 x 8 pixels"),
        ("layers: [{conv: 3, padding: 3}]", "layer 0: a kernel of 3 with padding 3 does not fit"),
        ("layers: [{dense: 3}, {conv: 3}]", "layer 1: a convolution stands behind a dense layer"),
        ("layers: [{conv: 3}, {conv: 3, residual: 0}]", "layer 1: its residual must be a layer before"),
        (
            "layers: [{dense: 3}, {dense: 4}, {dense: 4, residual: 0}]",
            r"a residual of shape \[3, 1, 1\] can't be added",
        ),
        ("layers: [{dense: 3}]\nactivation: swoosh", "unknown activation 'swoosh'"),
        ("layers: [", "no readable YAML"),
    ],
)
def test_files_that_are_no_architecture_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "net.yaml").write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_spec(str(tmp_path / "net.yaml"), (1, 8, 8), 10)
    assert str(tmp_path / "net.yaml") in str(caught.value)


def test_unknown_names_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown architecture 'resnet'; known: cnn-small, mlp, random"):
        read_spec("resnet", (1, 8, 8), 10)
    with pytest.raises(FileNotFoundError):
        read_spec(str(tmp_path / "none.yaml"), (1, 8, 8), 10)
    with pytest.raises(ValueError, match="2 classes or more, found 1"):
        read_spec("mlp", (1, 8, 8), 1)


def test_the_units_are_those_that_a_forward_makes() -> None:
    spec = ClassifierSpec((2, 9, 7), (Layer(4, 3, 2), Layer(5, 3, 1, 1), Layer(6)), 3)
    made: list[int] = []
    module = Classifier(spec)
    for layer in module.layers[:-1]:
        layer.register_forward_hook(lambda _, __, found: made.append(found[0].numel()))
    module(torch.zeros(1, 2, 9, 7))
    assert spec.units == sum(made)
    assert read_spec("cnn-small", (1, 28, 28), 10).units == 3344
