"""Reads mutated files one after the other in a process of its own, and says what became of each."""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import tempfile
import time
import warnings
from pathlib import Path

LONGEST = 500  # characters of a message
MEMORY = 4 << 30  # bytes above what the process takes when it starts


def outcome(path: Path, sample: str) -> str:
    """``loaded``, ``refused`` by one clear sentence, or what is wrong."""
    import conversions
    from tests.fuzz.samples import READERS

    try:
        READERS.get(sample, conversions.to_graph)(path)
    except (ValueError, OSError) as error:
        text = str(error)
        if type(error).__name__ in ("UnicodeDecodeError", "UnicodeEncodeError", "JSONDecodeError"):
            return f"unclear: {type(error).__name__}: {text[:200]}"
        if "\n" in text.strip() or len(text.replace(str(path.parent), "")) > LONGEST or not text.isprintable():
            return f"unclear: {text[:300]!r}"
        if path.name not in text and path.parent.name not in text:
            return f"unnamed: {text[:300]!r}"
        return "refused"
    except BaseException as error:
        return f"raised {type(error).__name__}: {str(error)[:200]!r}"
    return "loaded"


def main(samples: str, first: int, step: int, count: int) -> None:
    """Read the mutations first, first + step, ... below count; a JSON line before each and one behind it."""
    from tests.fuzz.mutations import mutated
    from tests.fuzz.samples import write_samples

    warnings.simplefilter("ignore")
    out = os.fdopen(os.dup(1), "w", buffering=1)  # what readers print is no outcome
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    folder = Path(samples)
    files = write_samples(folder) if not any(folder.iterdir()) else {}
    names, contents = list(files), {name: path.read_bytes() for name, path in files.items()}
    for name, path in files.items():
        print(json.dumps({"sample": name, "outcome": outcome(path, name)}), file=out)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    for number in range(first, count, step):
        name = names[number % len(names)]
        print(json.dumps({"number": number, "sample": name}), file=out)
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as scratch:
            path = _placed(Path(scratch), name, files[name], mutated(name, contents[name], number))
            found = outcome(path, name)
        print(json.dumps({"number": number, "outcome": found, "seconds": time.monotonic() - start}), file=out)
    print(json.dumps({"done": True}), file=out)


def _placed(scratch: Path, name: str, sample: Path, content: bytes) -> Path:
    """The mutated file, with what lies beside it."""
    if sample.parent.name in ("zoo", "sharded", "model_folder"):
        shutil.copytree(sample.parent, scratch / sample.parent.name)
        path = scratch / sample.parent.name / sample.name
    else:
        path = scratch / name
    path.write_bytes(content)
    return path


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:5]))
