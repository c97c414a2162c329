"""`napari-sam info` and `verify`: what is in a store of embeddings, and whether it is whole."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.commands.encode import encode_shown, refuse_failures, size_said
from napari_sam.commands.running import plane_said, progress_bar, tell_whose_embeddings
from napari_sam.errors import InputError
from napari_sam.loading import check_model

if TYPE_CHECKING:
    from napari_sam.tiles.geometry import TileId
    from napari_sam.tiles.store import EmbeddingStore
    from src_model.loading import Precision

_SHOWN = 20


def info(where: str) -> None:
    """Print what a store was made from, and how many of its tiles are in which state.

    Parameters
    ----------
    where : str
        Folder, .zip file or URL.

    Raises
    ------
    InputError
        If there is no store, or it cannot be read.
    """
    from napari_sam.own_models import name_of, served_too
    from napari_sam.scene import Normalisation
    from napari_sam.tiles.kept_levels import kept_sizes
    from napari_sam.tiles.store import EmbeddingStore
    from napari_sam.tiles.store_errors import called

    store = EmbeddingStore.open(where)
    scene, model, geometry = store.scene, store.model, store.geometry
    by = " × ".join
    print(f"image   {scene.name}, {by(map(str, scene.shape))} pixels{plane_said(scene)}")
    stretch = Normalisation.from_dict(scene.normalisation).describe()
    print(f"        channels {', '.join(scene.channels)}; {stretch}")
    print(
        f"model   {name_of(model)}, hash {model.hash[:8]}; embeddings "
        f"{by(map(str, model.embedding_shape))}, {store.layout.dtype}; encoded in {model.precision}"
    )
    if model.encoder_hash:
        others = "".join(f", {name}" for name in served_too(model))
        print(f"        encoder hash {model.encoder_hash[:8]}: for {name_of(model)}{others}")
    print(f"tiles   {geometry.tile} pixels with a halo of {geometry.halo}")
    print()
    print("level     tiles      done     empty    failed   missing")
    for level in store.levels:
        missing, done, empty, failed = np.bincount(store.states(level).ravel(), minlength=4)
        total = missing + done + empty + failed
        print(f"{level:5}{total:10}{done:10}{empty:10}{failed:10}{missing:10}")
    print()
    failures = store.failures()
    for failure in failures[:_SHOWN]:
        print(f"{called(failure.tile)} failed: {failure.reason}")
    if len(failures) > _SHOWN:
        print(f"... and {len(failures) - _SHOWN} more")
    kept = kept_sizes(store)
    size = size_said(store.size_on_disk())
    if kept:
        levels = f"level{'s' if len(kept) > 1 else ''} {', '.join(map(str, kept))}"
        size += f", {size_said(sum(kept.values()))} of it pixels of {levels}, computed and kept,"
    print(f"{size} in {where}")


def verify(
    where: str,
    *,
    repair: str | None,
    model_name: str,
    device: str,
    precision: "Precision",
) -> None:
    """Read every embedding of a store, and encode damaged ones again if asked to.

    Parameters
    ----------
    where : str
        Folder, .zip file or URL.
    repair : str or None
        The image, or "" for the one that the store names; None only tells.
    model_name, device, precision : str
        What to repair with, as `src_model.load_model` takes them.

    Raises
    ------
    InputError
        If the store cannot be read, embeddings are damaged and stay so, or image or model are
        others than the store's.
    """
    from napari_sam.tiles.reopening import load_like, open_like
    from napari_sam.tiles.store import EmbeddingStore, ModelInfo, SceneInfo

    store = EmbeddingStore.open(where)
    scene = sam = None
    if repair is not None:
        repair = repair or store.scene.name
        check_model(model_name, device, precision)
        scene = open_like(store, repair)
        sam = load_like(store, model_name, device, precision)
        store.check(scene=SceneInfo.of(scene), model=ModelInfo.of(sam))
        tell_whose_embeddings(store, sam, model_name)
    with progress_bar("tiles read") as show:
        damaged = store.verify(show)
    print(_verdict(store, damaged))
    if not damaged:
        return
    if scene is None or sam is None:
        raise InputError(
            f"{len(damaged)} of the embeddings in {where} were damaged and count as missing now: "
            f"encode them again with 'napari-sam encode IMAGE -o {where} --resume'."
        )
    summary = encode_shown(scene, sam, store, damaged)
    print(f"{summary.done} encoded again")
    if summary.left:
        raise InputError(
            f"{summary.left} damaged tiles are not encoded again yet, because it was stopped: go "
            f"on with 'napari-sam encode {repair} -o {where} --resume'."
        )
    refuse_failures(summary, f"try 'napari-sam encode {repair} -o {where} --resume --retry-failed'")


def _verdict(store: "EmbeddingStore", damaged: Sequence["TileId"]) -> str:
    """Say what was read, and list what was damaged."""
    from napari_sam.tiles.store_errors import called

    whole = store.progress().done
    lines = [f"{whole + len(damaged)} embeddings read, {len(damaged)} damaged"]
    lines += [f"  {called(tile)}" for tile in damaged[:_SHOWN]]
    if len(damaged) > _SHOWN:
        lines.append(f"  ... and {len(damaged) - _SHOWN} more")
    return "\n".join(lines)
