"""What a process frees it uses again."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource
import numpy as np
from napari_sam.allocator import keep_freed_memory
{first}
def touch():
    np.ones(24 << 20, np.uint8)
touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    touch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc's allocator can be told")
def test_large_blocks_are_not_mapped_anew() -> None:
    faults = [
        int(
            subprocess.run(
                [sys.executable, "-c", PROGRAM.format(first=first)],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        for first in ("keep_freed_memory()", "")
    ]
    assert faults[0] < 100
    assert faults[0] < faults[1] / 5
