"""What surrounds the steps of a script: how the image and the network are opened, and the check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from napari_sam.tiles.subjects import SceneInfo

from .prompts import Plane
from .subject import SessionModel

__all__ = ["script_text"]

_HEAD = '''\
"""Repeats a session of napari-sam without a window, and checks that the labels are the same.

    python {name} LABELS.tif [--image IMAGE] [--model MODEL]
"""

import argparse
import sys
import tempfile
from pathlib import Path

{imports}

IMAGE = {image!r}
MODEL = {model!r}
MODEL_HASH = {hash!r}
DIGEST = {digest!r}
PLANES = {planes}


def repeat(session, plane):
    """Do all steps; plane(t, z) returns the scene and the segmenter of a plane."""
    masks = read_masks(Path(__file__).with_suffix(".masks.json"))
'''

_OPEN = '''

def open_plane(image, model, t, z):
    """Open a plane of the image, and what answers prompts on it."""
    limits = {limits}[t, z]
    scene = open_scene(
        image,
        axes={axes!r},
        channels={channels!r},
        t=t,
        z=z,
        nodata={nodata!r},
        normalisation=Normalisation({kind!r}, *limits),
    )
{segmenter}

def main():
    """Read the command line, repeat the session and write its labels."""
    parser = argparse.ArgumentParser(description="Repeat a session of napari-sam.")
    parser.add_argument("labels", help="the file to write, .tif or .zarr")
    parser.add_argument("--image", default=IMAGE, help="the image, if it moved")
    parser.add_argument("--model", default=MODEL, help="a model's name, or a file of weights")
    options = parser.parse_args()
    labels = Path(options.labels)
{load}
    def plane(t, z):
        return open_plane(options.image, model, t, z)

    with (
        tempfile.TemporaryDirectory() as folder,
        Session.create(folder, *plane({t}, {z})) as session,
    ):
        repeat(session, plane)
        for t, z in PLANES:
            session.save_labels({path}, plane=(t, z))
        if session.digest() != DIGEST:
            sys.exit("The labels differ from those of the session.")
        print(len(session.ids), "objects, the same as in the session.")


if __name__ == "__main__":
    main()
'''

_SEGMENTER = """\
    store = EmbeddingStore.create(
        MemoryStore(),
        SceneInfo.of(scene),
        ModelInfo.of(model),
        TileGeometry(scene.shape, tile={tile}, halo={halo}),
        dtype={dtype!r},
    )
    return scene, Segmenter(scene, store, model)
"""

_LOAD = """\
    model = load(options.model)
    if ModelInfo.of(model).hash != MODEL_HASH:
        sys.exit("This is another model than that of the session: give it with --model.")
"""

_ONE = "labels"
_MANY = 'labels.with_name(f"{labels.stem}_t{t}_z{z}{labels.suffix}")'

_IMPORTS = """\
from napari_sam.scene import Normalisation, open_scene
from napari_sam.session import Scribble, Session, read_masks"""

_MODEL_IMPORTS = """\
from zarr.storage import MemoryStore

from napari_sam.loading import load
from napari_sam.scene import Normalisation, open_scene
from napari_sam.segment.segmenter import Segmenter
from napari_sam.session import Scribble, Session, read_masks
from napari_sam.tiles.geometry import TileGeometry
from napari_sam.tiles.store import EmbeddingStore, ModelInfo, SceneInfo"""


def script_text(
    path: Path,
    lines: Sequence[str],
    planes: Mapping[Plane, SceneInfo],
    model: SessionModel | None,
    digest: str,
) -> str:
    """Return the whole script.

    Parameters
    ----------
    path : Path
        Where it will be.
    lines : sequence of str
        The steps.
    planes : mapping
        All planes, the first one first.
    model : SessionModel, optional
        The network.
    digest : str
        Of the labels that are expected.
    """
    (t, z), scene = next(iter(planes.items()))
    stretches = {plane: info.normalisation for plane, info in planes.items()}
    limits = {plane: (tuple(s["low"]), tuple(s["high"])) for plane, s in stretches.items()}
    head = _HEAD.format(
        name=path.name,
        imports=_IMPORTS if model is None else _MODEL_IMPORTS,
        image=scene.name,
        model=None if model is None else model.name,
        hash=None if model is None else model.hash,
        digest=digest,
        planes=list(planes),
    )
    segmenter = "    return scene, None\n"
    if model is not None:
        segmenter = _SEGMENTER.format(tile=model.tile, halo=model.halo, dtype=model.dtype)
    tail = _OPEN.format(
        limits=limits,
        axes=scene.axes,
        channels=list(scene.channels),
        nodata=scene.nodata,
        kind=scene.normalisation["kind"],
        segmenter=segmenter,
        load="    model = None\n" if model is None else _LOAD,
        t=t,
        z=z,
        path=_ONE if len(planes) == 1 else _MANY,
    )
    return head + "\n".join(lines) + "\n" + tail
