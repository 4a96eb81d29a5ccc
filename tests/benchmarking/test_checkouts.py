import sys
from dataclasses import replace
from importlib import import_module
from types import ModuleType

import pytest

from graphws.benchmarking import checkouts
from graphws.benchmarking.checkouts import Checkout
from tests.official_code import write

CODE = Checkout("code", "https://example.org/code", "abc1234", files=("parts/a.py",), modules=("parts.a",))


def checkout(root, text="VALUE = 1\n"):
    return write(root, {"parts/__init__.py": "", "parts/a.py": text})


def test_its_modules_are_there_inside_and_gone_afterwards(tmp_path):
    path, before = list(sys.path), set(sys.modules)
    with CODE.importing(checkout(tmp_path)):
        assert import_module("parts.a").VALUE == 1
    assert sys.path == path
    assert set(sys.modules) == before


def test_two_checkouts_of_the_same_names_do_not_mix(tmp_path):
    found = []
    for value in (1, 2):
        with CODE.importing(checkout(tmp_path / str(value), f"VALUE = {value}\n")):
            found.append(import_module("parts.a").VALUE)
    assert found == [1, 2]


def test_a_loaded_module_of_the_same_name_comes_back(tmp_path, monkeypatch):
    mine = ModuleType("parts")
    monkeypatch.setitem(sys.modules, "parts", mine)
    with CODE.importing(checkout(tmp_path)):
        assert sys.modules["parts"] is not mine
    assert sys.modules["parts"] is mine
    assert "parts.a" not in sys.modules


def test_a_bare_package_does_not_run_its_init(tmp_path):
    write(checkout(tmp_path, "from other.b import VALUE\n"), {"other/__init__.py": "1 / 0", "other/b.py": "VALUE = 3"})
    with replace(CODE, bare=("other",)).importing(tmp_path):
        assert import_module("parts.a").VALUE == 3
    assert "other" not in sys.modules


def test_a_stand_in_takes_the_place_of_a_missing_package_alone(tmp_path):
    code = replace(CODE, stand_ins=("no_package.io.save", "json.tool.main"))
    checkout(tmp_path, "from no_package.io import save\nfrom json.tool import main\n")
    with code.importing(tmp_path):
        module = import_module("parts.a")
    assert module.save is None
    assert callable(module.main)
    assert not any(name.startswith("no_package") for name in sys.modules)


def test_a_moved_module_is_found_by_its_old_name(tmp_path):
    checkout(tmp_path, "from json.old import JSONDecoder\n")
    with replace(CODE, moved=(("json.old", "json.decoder"),)).importing(tmp_path):
        assert import_module("parts.a").JSONDecoder is import_module("json").JSONDecoder
    assert "json.old" not in sys.modules


def test_errors_say_what_is_missing_and_where_to_get_it(tmp_path):
    get = "git clone https://example.org/code"
    with pytest.raises(ValueError, match=f"--against code needs --source DIR, the authors' code; {get}"):
        CODE.check(None)
    with pytest.raises(ValueError, match=f"nowhere: expected a checkout of .*, found no directory; {get}"):
        CODE.check(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=f"expected a checkout of .*, found no parts/a.py; {get}"):
        CODE.check(tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import no_package.b", r"can't import parts.a \(No module named 'no_package'\); pip install no_package"),
        ("from parts.gone import x", r"\(No module named 'parts.gone'\); expected commit abc1234"),
        ("from parts import gone", r"\(cannot import name 'gone' .*\); expected commit abc1234"),
    ],
)
def test_a_failing_import_names_the_package(tmp_path, text, expected):
    with pytest.raises(ValueError, match=expected):
        CODE.check(checkout(tmp_path, text))
    assert "parts" not in sys.modules


def test_pip_knows_some_packages_by_other_names(tmp_path, monkeypatch):
    monkeypatch.setitem(checkouts.DISTRIBUTIONS, "no_package", "other-name")
    with pytest.raises(ValueError, match="No module named 'no_package'.*; pip install other-name"):
        replace(CODE, needs=("no_package.b",)).check(checkout(tmp_path))
