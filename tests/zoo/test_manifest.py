from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graphws.cli import main
from graphws.zoo import Zoo, open_mixed, verify_zoo
from graphws.zoo.manifest import MANIFEST, read_manifest, write_manifest

Make = Callable[..., Zoo]
READERS = (Zoo.open, open_mixed, verify_zoo)


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object], *, seal: bool) -> None:
    """Change a manifest, and its checksum with it where ``seal`` is set, as one who means harm would."""
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    if seal:
        fields = {k: v for k, v in manifest.items() if k not in ("format", "format_version", "sha256")}
        write_manifest(folder, fields)
    else:
        (folder / MANIFEST).write_text(json.dumps(manifest))


def as_old(folder: Path) -> None:
    """What the version before wrote."""

    def change(manifest: dict[str, Any]) -> None:
        manifest["format_version"] = 1
        del manifest["notes"], manifest["sha256"]

    rewrite(folder, change, seal=False)


EDITS: dict[str, Callable[[dict[str, Any]], object]] = {
    "activation": lambda m: m["architectures"][0]["groups"][1].update(activation={"name": "relu", "parameter": None}),
    "offset": lambda m: m["architectures"][0].update(output_offset=0.25),
    "convention": lambda m: m.update(convention="nfn"),
    "splits": lambda m: m["splits"].update(train=m["splits"]["train"] - 1, val=m["splits"]["val"] + 1),
    "provenance": lambda m: m["provenance"].update(command="another"),
    "notes": lambda m: m["notes"].update(more=1),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_by_hand_is_noticed(make_zoo: Make, name: str) -> None:
    folder = make_zoo().path
    rewrite(folder, lambda m: None, seal=False)  # the layout of the text is of no matter
    read_manifest(folder)
    rewrite(folder, EDITS[name], seal=False)
    for reader in READERS:
        with pytest.raises(ValueError, match=r"manifest\.json: .* was edited or damaged since it was written"):
            reader(folder)


def deeper(manifest: dict[str, Any]) -> None:
    node: dict[str, Any] = manifest["provenance"]
    for _ in range(5000):
        node["a"] = {}
        node = node["a"]


def doubled_negative(manifest: dict[str, Any]) -> None:
    shard = manifest["shards"][0]
    manifest["shards"] += [{**shard, "count": -shard["count"]}, dict(shard)]


HOSTILE: dict[str, Callable[[dict[str, Any]], object]] = {
    "a float index": lambda m: m["shards"][0].update(architecture=0.0),
    "a boolean index": lambda m: m["shards"][0].update(architecture=False),
    "an index below 0": lambda m: m["shards"][0].update(architecture=-1),
    "a list for an index": lambda m: m["shards"][0].update(architecture=[0]),
    "a negative count": doubled_negative,
    "a count of 0": lambda m: m["shards"].append({**m["shards"][0], "count": 0}),
    "huge counts": lambda m: (m.update(count=2**70), m["shards"][0].update(count=2**70, bytes=2**80)),
    "a boolean count": lambda m: m.update(count=True),
    "no parts of a block": lambda m: m["architectures"][0]["blocks"][0].update(groups=0),
    "a size that is a float": lambda m: m["architectures"][0]["groups"][1].update(size=4.0),
    "a huge size": lambda m: m["architectures"][0]["groups"][1].update(size=2**62),
    "a size that is a text": lambda m: m["architectures"][0]["groups"][1].update(size="4"),
    "no architecture": lambda m: m["architectures"].__setitem__(0, 7),
    "groups that are none": lambda m: m["architectures"][0].update(groups={"a": 1}),
    "an activation that is none": lambda m: m["architectures"][0]["groups"][1].update(activation=[]),
    "an unknown activation": lambda m: m["architectures"][0]["groups"][1].update(activation={"name": "bang"}),
    "an offset that is a text": lambda m: m["architectures"][0].update(output_offset="a"),
    "labels that are none": lambda m: m.update(labels={"classes": 3}),
    "classes that are none": lambda m: m.update(labels={"name": "x", "classes": [1, 2]}),
    "splits that are none": lambda m: m.update(splits={"train": "many"}),
    "notes that are none": lambda m: m.update(notes={"assumed": [1]}),
    "a file outside": lambda m: m["shards"][0].update(file="../x"),
    "a file with a zero": lambda m: m["shards"][0].update(file="a\0b"),
    "a file that is a folder": lambda m: m["shards"][0].update(file="shards"),
    "shards that are numbers": lambda m: m.update(shards=[1, 2]),
    "images that are numbers": lambda m: m.update(images=[None]),
    "a table that is none": lambda m: m.update(table={"file": "networks.parquet", "sha256": 3}),
}


def used(reader: Callable[..., Any], folder: Path) -> list[str]:
    """What a reader says against a zoo when its networks are asked for; errors of other kinds go through."""
    try:
        found = reader(folder)
        if isinstance(found, list):  # verify_zoo names what is wrong with a file
            return found
        found.stack(range(found.count))
        found.batch(range(found.count))
    except (ValueError, OSError) as error:
        return [str(error)]
    return []


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("seal", [False, True], ids=["as it is", "with its checksum"])
def test_a_hostile_manifest_is_one_error_of_every_reader(make_zoo: Make, name: str, seal: bool) -> None:
    folder = make_zoo().path
    rewrite(folder, HOSTILE[name], seal=seal)
    for reader in READERS:
        said = used(reader, folder)
        assert said
        assert all("\n" not in text and len(text) < 600 for text in said)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "", "null", "[]", "\0", '{"format": NaN}'])
def test_what_is_no_manifest_is_one_error(make_zoo: Make, text: str) -> None:
    folder = make_zoo().path
    (folder / MANIFEST).write_text(text)
    for reader in READERS:
        with pytest.raises(ValueError, match=r"manifest\.json: "):
            reader(folder)


def test_no_text_is_one_error(make_zoo: Make) -> None:
    folder = make_zoo().path
    (folder / MANIFEST).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="damaged manifest"):
        read_manifest(folder)


def test_a_zoo_of_the_version_before_stays_readable_and_says_so(
    make_zoo: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_zoo().path
    new = open_mixed(folder).data_hash
    as_old(folder)
    old = open_mixed(folder)
    shards = "".join(shard["sha256"] for shard in old.manifest["shards"])
    assert old.data_hash == hashlib.sha256(shards.encode()).hexdigest() != new
    assert old.notes == {}
    assert verify_zoo(folder) == []
    assert main(["zoo", "info", str(folder)]) == 0
    assert "made by an earlier version" in " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_the_data_hash_follows_structure(make_zoo: Make) -> None:
    folder = make_zoo().path
    hashes = {open_mixed(folder).data_hash}
    for name in ("activation", "offset"):
        before = copy.deepcopy(json.loads((folder / MANIFEST).read_text()))
        rewrite(folder, EDITS[name], seal=True)
        hashes.add(open_mixed(folder).data_hash)
        (folder / MANIFEST).write_text(json.dumps(before))
    assert len(hashes) == 3
    rewrite(folder, EDITS["provenance"], seal=True)
    assert open_mixed(folder).data_hash in hashes
