from __future__ import annotations

import pytest
import torch
from torch import Tensor

from graphws import Architecture, Batch
from graphws.functional import realise
from graphws.zoo import FitSettings, convention_of, coordinates, fit_images, fit_sirens, initialise, siren_architecture
from tests.reference.siren import modules, slow_fit, values

LAYOUT = (2, 6, 5, 1)


def start(
    count: int, convention: str = "dws", dtype: torch.dtype = torch.float64
) -> tuple[Architecture, Tensor, Tensor]:
    arch = siren_architecture(LAYOUT, convention)
    x, edge_attr = initialise(arch, convention, count, torch.Generator().manual_seed(3))
    return arch, x.to(dtype), edge_attr.to(dtype)


def pictures(count: int, convention: str = "dws", size: tuple[int, int] = (4, 3)) -> Tensor:
    unit = torch.rand(count, *size, 1, generator=torch.Generator().manual_seed(4))
    return convention_of(convention).to_pixels(unit)


@pytest.mark.parametrize(("convention", "members"), [("dws", 1), ("nfn", 1), ("dws", 2)])
def test_fit_is_torchs_adam_on_each_image(convention: str, members: int) -> None:
    arch, x, edge_attr = start(3 * members, convention)
    images = pictures(3, convention)
    fit = fit_sirens(
        images, arch, convention, x, edge_attr, FitSettings(steps=12, learning_rate=1e-2, psnr=99), members=members
    )
    row_first = convention == "nfn"
    for i in range(3):
        rows = range(i * members, (i + 1) * members)
        networks = [modules(LAYOUT, x[row], edge_attr[row]) for row in rows]
        error, _ = slow_fit(
            networks, images[i].double(), 12, 1e-2, row_first=row_first, w0=30.0, offset=arch.output_offset
        )
        assert fit.mse[i].item() == pytest.approx(error, rel=1e-8)
        for row, network in zip(rows, networks, strict=True):
            slow_x, slow_edges = values(network)
            torch.testing.assert_close(fit.x[row], slow_x, rtol=1e-7, atol=1e-9)
            torch.testing.assert_close(fit.edge_attr[row], slow_edges, rtol=1e-7, atol=1e-9)


def test_each_network_stops_and_freezes_at_its_own_step() -> None:
    arch, x, edge_attr = start(8)
    images = pictures(8)
    settings = FitSettings(steps=60, learning_rate=1e-2, psnr=20)
    together = fit_sirens(images, arch, "dws", x, edge_attr, settings)
    assert len(together.steps.unique()) > 2
    assert together.steps.min() < 60
    stopped = together.steps < 60
    assert (together.psnr[stopped] >= 20).all()
    for i in range(8):
        alone = fit_sirens(images[i : i + 1], arch, "dws", x[i : i + 1], edge_attr[i : i + 1], settings)
        assert alone.steps == together.steps[i]
        torch.testing.assert_close(alone.x[0], together.x[i], rtol=1e-9, atol=1e-10)
        torch.testing.assert_close(alone.edge_attr[0], together.edge_attr[i], rtol=1e-9, atol=1e-10)
    network = modules(LAYOUT, x[0], edge_attr[0])
    _, steps = slow_fit([network], images[0].double(), 60, 1e-2, 1e-2, row_first=False, w0=30.0, offset=0.5)
    assert steps == together.steps[0]


@pytest.mark.parametrize("convention", ["dws", "nfn"])
def test_reported_error_is_that_of_the_realised_network(convention: str) -> None:
    arch, x, edge_attr = start(3, convention, torch.float32)
    images = pictures(3, convention)
    fit = fit_sirens(images, arch, convention, x, edge_attr, FitSettings(steps=20))
    drawn = realise(Batch.from_stack(arch, fit.x, fit.edge_attr), coordinates(4, 3, convention))
    mse = (drawn.view_as(images) - images).square().mean((1, 2, 3))
    torch.testing.assert_close(fit.mse, mse, rtol=1e-4, atol=1e-7)
    peak = 1.0 if convention == "dws" else 4.0
    torch.testing.assert_close(fit.psnr, 10 * torch.log10(peak / mse), rtol=1e-4, atol=1e-3)


def test_fit_images_returns_the_networks_whose_mean_it_fitted() -> None:
    images = pictures(2)
    x, edge_attr, mse = fit_images(images, LAYOUT, "dws", networks_averaged=3, settings=FitSettings(steps=30), seed=1)
    arch = siren_architecture(LAYOUT)
    assert x.shape == (2, arch.num_nodes, 3)
    drawn = realise(Batch.from_stack(arch, x, edge_attr), coordinates(4, 3)).mean(1)
    torch.testing.assert_close(mse, (drawn.view_as(images) - images).square().mean((1, 2, 3)), rtol=1e-4, atol=1e-7)
    again = fit_images(images, arch, "dws", networks_averaged=3, settings=FitSettings(steps=30), seed=1)
    assert torch.equal(again[0], x)
    with pytest.raises(ValueError, match="at least 1, found 0"):
        fit_images(images, LAYOUT, networks_averaged=0)


def test_progress_adds_up_and_an_error_in_it_ends_the_fit() -> None:
    arch, x, edge_attr = start(5, dtype=torch.float32)
    heard: list[tuple[int, int]] = []
    settings = FitSettings(steps=50, learning_rate=1e-2, psnr=20)
    fit = fit_sirens(pictures(5), arch, "dws", x, edge_attr, settings, progress=lambda *a: heard.append(a))
    assert sum(steps for steps, _ in heard) == fit.steps.sum()
    assert sum(ahead for _, ahead in heard) == 5 * 50

    def fail(steps: int, ahead: int) -> None:
        raise KeyboardInterrupt

    threads = torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        fit_sirens(pictures(5), arch, "dws", x, edge_attr, settings, progress=fail)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": torch.rand(2, 4, 3, 3)}, r"expected images of shape \[n, H, W, 1\]"),
        ({"images": torch.zeros(2, 4, 3, 1, dtype=torch.uint8)}, "floating dtype"),
        ({"images": torch.rand(3, 4, 3, 1)}, "for 3 images and 1 network"),
    ],
)
def test_wrong_shapes_are_refused(change: dict[str, Tensor], message: str) -> None:
    arch, x, edge_attr = start(2)
    with pytest.raises(ValueError, match=message):
        fit_sirens(change["images"], arch, "dws", x, edge_attr)


@pytest.mark.parametrize("bad", [{"steps": -1}, {"learning_rate": 0.0}, {"psnr": float("inf")}])
def test_settings_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="found"):
        FitSettings(**bad)  # type: ignore[arg-type]
