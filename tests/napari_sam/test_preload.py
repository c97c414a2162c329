"""What is slow to import comes in a thread, before the first click."""

import subprocess
import sys

_CODE = """
import sys
from napari_sam.live.preload import preload
assert "torch" not in sys.modules
thread = preload()
thread.join()
assert "torch" in sys.modules and "src_model.sam" in sys.modules
assert preload() is None
"""


def test_once_and_in_a_thread() -> None:
    subprocess.run([sys.executable, "-c", _CODE], check=True)
