import subprocess
import sys

import pytest

from graphws.cli import allocator

PROGRAM = """
import resource, runpy, sys
import numpy
if sys.argv[2] == "keep" and not runpy.run_path(sys.argv[1])["keep_freed_memory"]():
    sys.exit(7)
for step in range(12):
    if step == 2:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    numpy.ones(2**23)  # 64 MiB, freed at once
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode: str) -> int:
    run = subprocess.run([sys.executable, "-c", PROGRAM, allocator.__file__, mode], capture_output=True, text=True)
    if run.returncode == 7:
        pytest.skip("no glibc here")
    return int(run.stdout)


def test_freed_memory_is_used_again_without_page_faults():
    assert 3 * faults("keep") < faults("plain")
