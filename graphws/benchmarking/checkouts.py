"""Official research code in a directory that the user names: checked, and imported without staying importable."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

__all__ = ["Checkout"]

# What pip installs a module by, where the names differ.
DISTRIBUTIONS = {"hydra": "hydra-core", "rff": "random-fourier-features-pytorch", "yaml": "PyYAML"}


@dataclass(frozen=True)
class Checkout:
    """Research code that is no package: its modules are imported from where its files lie.

    Args:
        name: The name that ``--against`` takes.
        address: Address to clone the repository from.
        commit: The one this library was compared with.
        files: The files of the root; where one is missing the directory holds something else.
        modules: What is imported.
        needs: Modules of other packages that are imported before.
        bare: Packages whose ``__init__`` is not run, as it imports what editing does not need.
        stand_ins: Functions of other packages, as ``"torchvision.utils.save_image"``, that its modules import and
            never call here: where the package is missing, a stand-in takes the place for the time of the import.
        moved: Modules of other packages that it imports by an old name, with their new ones.
    """

    name: str
    address: str
    commit: str
    files: tuple[str, ...]
    modules: tuple[str, ...]
    needs: tuple[str, ...] = ()
    bare: tuple[str, ...] = ()
    stand_ins: tuple[str, ...] = ()
    moved: tuple[tuple[str, str], ...] = ()

    def check(self, source: Path | None) -> None:
        """Import its modules once.

        Raises:
            ValueError: If ``source`` is None or no checkout of this, or a package that its code imports is missing.
        """
        get = f"git clone {self.address}"
        if source is None:
            raise ValueError(f"--against {self.name} needs --source DIR, the authors' code; {get}")
        if not source.is_dir():
            raise ValueError(f"--source {source}: expected a checkout of {self.address}, found no directory; {get}")
        for file in self.files:
            if not (source / file).is_file():
                raise ValueError(f"--source {source}: expected a checkout of {self.address}, found no {file}; {get}")
        with self.importing(source):
            pass

    @contextmanager
    def importing(self, source: Path) -> Iterator[None]:
        """Inside, its modules are loaded; afterwards those of the same names are as before.

        Raises:
            ValueError: If one can't be imported.
        """
        top = {name.partition(".")[0] for name in (*self.bare, *self.modules)}
        before = _taken(top)
        made: list[str] = []
        path = str(source.resolve())
        sys.path.insert(0, path)
        importlib.invalidate_caches()
        try:
            made += [name for function in self.stand_ins for name in _stand_in(function)]
            made += [old for old, new in self.moved if _moved(old, new)]
            for name in self.bare:
                _load_bare(name)
            for name in (*self.needs, *self.modules):
                self._load(name, source)
            yield
        finally:
            sys.path.remove(path)
            _taken(top)
            for name in made:
                sys.modules.pop(name, None)
            sys.modules.update(before)

    def _load(self, name: str, source: Path) -> None:
        try:
            importlib.import_module(name)
        except ImportError as error:
            package = (error.name or name).partition(".")[0]
            own = (source / package).is_dir()
            advice = f"expected commit {self.commit}" if own else f"pip install {DISTRIBUTIONS.get(package, package)}"
            raise ValueError(f"--source {source}: can't import {name} ({error}); {advice}") from None


def _taken(top: set[str]) -> dict[str, ModuleType]:
    """The loaded modules of some top-level names, no longer loaded."""
    return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in top}


def _load_bare(name: str) -> None:
    """Load a package without running its ``__init__``; nothing where there is none."""
    spec = importlib.util.find_spec(name)
    if spec is not None:
        module = sys.modules[name] = ModuleType(name)
        module.__path__ = list(spec.submodule_search_locations or ())


def _stand_in(function: str) -> list[str]:
    """Put modules in the place of a missing package's; their names."""
    *packages, attribute = function.split(".")
    if _imports(".".join(packages)):
        return []
    names = [".".join(packages[: i + 1]) for i in range(len(packages))]
    made = [name for name in names if name not in sys.modules]
    for name in made:
        sys.modules[name] = ModuleType(name)
    setattr(sys.modules[names[-1]], attribute, None)
    return made


def _moved(old: str, new: str) -> bool:
    """Let a module be imported by its old name, where it has only the new one."""
    if _imports(old) or not _imports(new):
        return False
    sys.modules[old] = sys.modules[new]
    return True


def _imports(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True
