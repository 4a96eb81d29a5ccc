from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from graphws.zoo.numbered_images import load_drawn


def picture(path: Path, value: int, size: tuple[int, int] = (3, 2)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size[1], size[0]), value, np.uint8)).save(path)


def values(folder: Path, training: int | None = None) -> dict[int, int]:
    """The first pixel of each number's image."""
    drawn = load_drawn(str(folder), None, "dws", training)
    assert drawn.places is not None
    return {number: int(drawn.images.images[place].flatten()[0]) for number, place in drawn.places.items()}


def test_numbers_of_pictures_are_those_of_their_names(tmp_path: Path) -> None:
    for number in (2, 10, 9, 100):  # by name they would be 10, 100, 2, 9
        picture(
            tmp_path / "flat" / f"digit_{number:03d}.png" if number == 9 else tmp_path / "flat" / f"{number}.png",
            number,
        )
    assert values(tmp_path / "flat") == {2: 2, 9: 9, 10: 10, 100: 100}
    for number in (4, 11):
        picture(tmp_path / "two" / "train" / "b" / f"{number}.png", number)
        picture(tmp_path / "two" / "test" / "a" / f"{number}.png", 100 + number)
    assert values(tmp_path / "two", 50) == {4: 4, 11: 11, 54: 104, 61: 111}
    images = load_drawn(str(tmp_path / "two"), None, "dws", 50).images
    assert images.classes == ("a", "b")
    assert images.labels is not None
    assert images.labels.tolist() == [1, 1, 0, 0]


def test_numbers_that_are_not_clear(tmp_path: Path) -> None:
    picture(tmp_path / "a" / "x" / "1.png", 1)
    picture(tmp_path / "a" / "y" / "01.png", 2)
    with pytest.raises(ValueError, match="two images have the number 1"):
        values(tmp_path / "a")
    picture(tmp_path / "b" / "one.png", 1)
    with pytest.raises(ValueError, match=r"one\.png: expected a name that ends with the image's number"):
        values(tmp_path / "b")
    picture(tmp_path / "c" / "train" / "1.png", 1)
    picture(tmp_path / "c" / "test" / "1.png", 1, (5, 5))
    with pytest.raises(ValueError, match="differ in size"):
        values(tmp_path / "c", 9)
    with pytest.raises(ValueError, match="of no such data set"):
        values(tmp_path / "c")


def test_numbers_of_an_npz_file(tmp_path: Path) -> None:
    images = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    np.savez(tmp_path / "a.npz", images=images)
    assert load_drawn(str(tmp_path / "a.npz"), None, "nfn", None).places is None
    np.savez(tmp_path / "b.npz", images=images, numbers=np.array([7, 60_001, 0]))
    assert load_drawn(str(tmp_path / "b.npz"), None, "nfn", None).places == {7: 0, 60_001: 1, 0: 2}
    for numbers in (np.array([1, 2]), np.array([0.5, 1, 2]), np.array([[1], [2], [3]])):
        np.savez(tmp_path / "c.npz", images=images, numbers=numbers)
        with pytest.raises(ValueError, match=r"expected numbers \[3\], integers"):
            load_drawn(str(tmp_path / "c.npz"), None, "nfn", None)


def test_conventions_without_images(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.zeros((1, 2, 2), np.uint8))
    with pytest.raises(ValueError, match="unknown convention 'custom'"):
        load_drawn(str(tmp_path / "a.npz"), None, "custom", None)
    assert torch.equal(
        load_drawn(str(tmp_path / "a.npz"), None, "dws", None).images.images, torch.zeros(1, 2, 2, 1).byte()
    )
