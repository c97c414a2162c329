"""Layers removed from a visible window; in a process of its own, which a crash would end."""

import subprocess
import sys

SCRIPT = """
import napari
import numpy as np
from qtpy.QtTest import QTest

import napari_sam

viewer = napari.Viewer()
napari_sam.attach(viewer)
viewer.add_image(np.random.default_rng(0).random((64, 64)))
for _ in range(6):  # without what guards it, it crashes sooner or later
    boxes = viewer.add_shapes([[[4, 4], [4, 30], [30, 30], [30, 4]]])
    clicks = viewer.add_points([[9, 9], [40, 40]], text={"string": "here"})
    QTest.qWait(80)
    for layer in (boxes, clicks):
        viewer.layers.remove(layer)
    QTest.qWait(80)
viewer.close()
print("still there")
"""


def test_a_window_survives_the_removal_of_layers_that_it_showed():
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)

    assert done.stdout.endswith("still there\n"), f"exit {done.returncode}: {done.stderr[-2000:]}"
