from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from graphws.zoo import ImageSet, load_images
from graphws.zoo.sources import split_images


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_mnist(folder: Path, *, suffix: str = "", train: int = 12, test: int = 6) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part, count in (("train", train), ("t10k", test)):
        images = np.arange(count * 4).reshape(count, 2, 2) % 256
        for name, array in (
            (f"{part}-images-idx3-ubyte", images),
            (f"{part}-labels-idx1-ubyte", np.arange(count) % 10),
        ):
            data = idx(array)
            (folder / (name + suffix)).write_bytes(gzip.compress(data) if suffix else data)


def test_digits_are_the_embedded_set() -> None:
    digits = load_images("digits")
    assert list(digits.images.shape) == [1797, 8, 8, 1]
    assert (digits.images.max(), digits.images.dtype) == (1.0, torch.float32)
    assert torch.equal(digits.labels.unique(), torch.arange(10))  # type: ignore[union-attr]


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("folder", ["", "MNIST/raw"])
def test_mnist_layouts(tmp_path: Path, folder: str, suffix: str) -> None:
    write_mnist(tmp_path / folder, suffix=suffix)
    mnist = load_images("mnist", tmp_path)
    assert (list(mnist.images.shape), mnist.training) == ([18, 2, 2, 1], 12)
    assert mnist.images[1].flatten().tolist() == [4, 5, 6, 7]
    assert mnist.labels.tolist() == [i % 10 for i in range(12)] + list(range(6))  # type: ignore[union-attr]


def test_missing_mnist_says_where_to_put_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"put the IDX files .*MNIST/raw.*graphws data mnist --root"):
        load_images("mnist", tmp_path)
    with pytest.raises(ValueError, match="needs --root DIR"):
        load_images("mnist")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected the header of an IDX file.*found nothing"),
        (b"\x1f\x8b123", "damaged gzip"),
        (idx(np.zeros((3, 2, 2)))[:-1], r"expected 12 bytes of shape \[3, 2, 2\], found 11"),
        (idx(np.zeros((3, 2, 2))), r"as many labels, found \[3, 2, 2\]"),
    ],
)
def test_damaged_mnist_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    write_mnist(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(data)
    with pytest.raises(ValueError, match=f"train-images-idx3-ubyte.*{message}"):
        load_images("mnist", tmp_path)


def test_npz(tmp_path: Path) -> None:
    path = tmp_path / "my.npz"
    np.savez(path, images=np.ones((3, 2, 2), np.float64) / 2, labels=np.array([0, 2, 1]))
    found = load_images(str(path))
    assert (found.name, found.classes, found.images.dtype) == ("my.npz", ("0", "1", "2"), torch.float32)
    assert list(found.images.shape) == [3, 2, 2, 1]
    np.savez(path, images=np.ones((3, 2, 2, 3), np.uint8))
    assert load_images(str(path)).labels is None


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": np.zeros(3)}, "an array named 'images'"),
        ({"images": np.zeros((3, 2))}, r"expected images \[n, H, W\]"),
        ({"images": np.zeros((0, 2, 2))}, "not empty"),
        ({"images": np.full((1, 2, 2), 2.0)}, r"must be in \[0, 1\], found 2 to 2"),
        ({"images": np.full((1, 2, 2), np.nan)}, "found nan"),
        ({"images": np.zeros((1, 2, 2), np.int64)}, "uint8 or floating, found int64"),
        ({"images": np.zeros((2, 2, 2)), "labels": np.zeros(3, int)}, r"expected labels \[2\]"),
        ({"images": np.zeros((1, 2, 2)), "labels": np.array([-1])}, "integers from 0"),
        ({"images": np.array([None, {}])}, "plain arrays"),
    ],
)
def test_malformed_npz_is_refused(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "my.npz", **arrays)
    with pytest.raises(ValueError, match=rf"my\.npz: .*{message}"):
        load_images(str(tmp_path / "my.npz"))


def test_damaged_and_missing_npz(tmp_path: Path) -> None:
    (tmp_path / "my.npz").write_bytes(b"PK no zip")
    with pytest.raises(ValueError, match="not a readable"):
        load_images(str(tmp_path / "my.npz"))
    (tmp_path / "my.npz").write_bytes(b"")
    with pytest.raises(ValueError, match="not a readable"):
        load_images(str(tmp_path / "my.npz"))
    with pytest.raises(FileNotFoundError):
        load_images(str(tmp_path / "absent.npz"))
    with pytest.raises(ValueError, match="unknown images 'what'; known: digits, mnist"):
        load_images("what")


def picture(path: Path, value: int | tuple[int, int, int], size: tuple[int, int] = (3, 2)) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.new("L" if isinstance(value, int) else "RGB", size, value).save(path)


def test_folder_of_classes(tmp_path: Path) -> None:
    picture(tmp_path / "cat/b.png", 7)
    picture(tmp_path / "cat/a.PNG", 5)
    picture(tmp_path / "ant/a.png", 9)
    found = load_images(str(tmp_path))
    assert (found.classes, list(found.images.shape)) == (("ant", "cat"), [3, 2, 3, 1])
    assert found.images[:, 0, 0, 0].tolist() == [9, 5, 7]
    assert found.labels.tolist() == [0, 1, 1]  # type: ignore[union-attr]


def test_folder_without_classes_and_with_colour(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", (1, 2, 3))
    picture(tmp_path / "b.png", 4)
    found = load_images(str(tmp_path))
    assert found.images[:, 0, 0].tolist() == [[1, 2, 3], [4, 4, 4]]
    assert found.labels is None


def test_bad_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no PNG or JPG files"):
        load_images(str(tmp_path))
    picture(tmp_path / "a.png", 4)
    picture(tmp_path / "b.png", 4, (5, 5))
    with pytest.raises(ValueError, match=r"b\.png: all pictures must have one size, expected \(3, 2\).*found \(5, 5\)"):
        load_images(str(tmp_path))
    (tmp_path / "b.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"b\.png: not a readable picture"):
        load_images(str(tmp_path))
    picture(tmp_path / "sub/c.png", 4)
    with pytest.raises(ValueError, match="pictures beside 1 sub-folders"):
        load_images(str(tmp_path))


def blank(count: int, training: int | None = None) -> ImageSet:
    return ImageSet("blank", torch.zeros(count, 1, 1, 1), training=training)


def test_splits_have_their_proportions_and_share_no_image(generator: torch.Generator) -> None:
    splits = split_images(blank(200), 100, generator)
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 70, "val": 15, "test": 15}
    assert len(torch.cat(list(splits.values())).unique()) == 100
    mnist = split_images(blank(7000, 6000), 1400, generator)
    assert {name: len(rows) for name, rows in mnist.items()} == {"train": 1100, "val": 100, "test": 200}
    assert mnist["test"].min() >= 6000
    assert max(mnist["train"].max(), mnist["val"].max()) < 6000
    whole = split_images(blank(70, 60), 70, generator)
    assert {name: len(rows) for name, rows in whole.items()} == {"train": 55, "val": 5, "test": 10}


def test_more_networks_than_images_stay_in_the_split_of_their_image(generator: torch.Generator) -> None:
    splits = split_images(blank(20), 50, generator)
    assert sum(map(len, splits.values())) == 50
    sets = [set(rows.tolist()) for rows in splits.values()]
    assert sum(map(len, sets)) == len(set.union(*sets)) == 20
    counts = torch.cat(list(splits.values())).bincount()
    assert (counts.min(), counts.max()) == (2, 3)


def test_splits_follow_the_seed() -> None:
    one, same, other = (split_images(blank(50), 30, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(one["train"], same["train"])
    assert not torch.equal(one["train"], other["train"])
    with pytest.raises(ValueError, match="at least one network, found count 0"):
        split_images(blank(5), 0, torch.Generator())
