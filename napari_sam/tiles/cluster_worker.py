"""What a worker of a cluster does: opens scene, store and network once, does tiles as asked."""

from __future__ import annotations

import io
import os
import pickle
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from zarr.storage import MemoryStore

import napari_sam
from napari_sam.errors import InputError

from .geometry import TileId
from .kept_levels import keep_levels
from .pipeline import Pipeline, Summary
from .store import EmbeddingStore
from .store_errors import StoreMismatch
from .subjects import ModelInfo, SceneInfo

if TYPE_CHECKING:
    from distributed import Worker

    from napari_sam.scene import Scene
    from src_model import Sam

__all__ = ["Kit", "stop_on_worker", "work_on_worker"]

_LARGEST_SCENE = 256 << 20
"""Bytes of pixels in memory that may be sent to every worker."""


@dataclass(frozen=True)
class _Parcel:
    """What is sent of a kit: how its things are made again where it arrives.

    Parameters
    ----------
    version : str
        Of this package.
    scene : bytes
        Pickled; files are opened again.
    sam : bytes
        Pickled, on the CPU, without what belongs to a process.
    device : str
        Kind of device that the network was on.
    accelerated : bool
        Whether OpenVINO ran it.
    store
        What `EmbeddingStore.open` takes.
    layout : mapping
        What the store says about itself.
    batch : int
        Tiles encoded at once.
    """

    version: str
    scene: bytes
    sam: bytes
    device: str
    accelerated: bool
    store: Any
    layout: dict[str, Any]
    batch: int


class Kit:
    """Scene, network and store, and what a worker makes of them when it first needs them.

    It is sent to each worker once, which keeps it as long as a run lasts; so nothing of an earlier
    run is ever used. In the process where it was made it holds what it was made from. This one
    encodes; others may do something else with the same things.

    Parameters
    ----------
    scene, sam, store
        As for `encoding.encode`, and checked.
    batch : int
        Tiles encoded at once.

    Raises
    ------
    InputError
        If scene or store are in this process's memory, and cannot be shared.
    """

    own: ClassVar[frozenset[str]] = frozenset({"_opened", "_opening", "_stopped"})
    """What belongs to a process, and is not sent."""

    _opened: tuple[Scene, Sam, EmbeddingStore] | None

    def __init__(self, scene: Scene, sam: Sam, store: EmbeddingStore, batch: int) -> None:
        self._parcel = _pack(scene, sam, store, batch)
        self._begin()
        self._opened = scene, sam, store

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in self.own}

    def __setstate__(self, sent: dict[str, Any]) -> None:
        vars(self).update(sent)
        self._begin()

    def _begin(self) -> None:
        """Make what belongs to a process."""
        self._opened = None
        self._opening = threading.Lock()
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Let tasks end after the tile in hand, and those to come at once."""
        self._stopped.set()

    def stopped(self) -> bool:
        """Tell whether tasks are to end."""
        return self._stopped.is_set()

    def opened(self) -> tuple[Scene, Sam, EmbeddingStore]:
        """Return scene, network and store; opened when first asked for.

        Raises
        ------
        InputError
            If they are not here what they are where the run was started.
        """
        with self._opening:
            if self._opened is None:
                self._opened = _unpack(self._parcel)
            return self._opened

    def work(self, tiles: list[TileId]) -> Summary:
        """Encode tiles as `encoding.encode` does in one process.

        Raises
        ------
        InputError
            As `opened`.
        """
        batch = self._parcel.batch
        return Pipeline(*self.opened(), tiles, None, batch, None, self.stopped).run()


def work_on_worker(kit: Kit, tiles: list[TileId]) -> tuple[str, Summary]:
    """Do tiles in a task; the first of what it returns is the worker's address.

    Raises
    ------
    InputError
        As `Kit.work`; the sentence names the worker.
    """
    from distributed import get_worker

    address = get_worker().address
    try:
        return address, kit.work(tiles)
    except InputError as error:
        raise type(error)(f"On the worker {address}: {error}") from error


def stop_on_worker(key: str, dask_worker: Worker) -> None:
    """Stop the kit that a worker holds under a key, if it does."""
    kit = dask_worker.data.get(key)
    if isinstance(kit, Kit):
        kit.stop()


def _pack(scene: Scene, sam: Sam, store: EmbeddingStore, batch: int) -> _Parcel:
    import cloudpickle  # dask's, which also takes the functions in an array of dask
    import torch

    from src_model.openvino_backend import OpenVinoEncoder

    where = store.place.given
    if isinstance(where, MemoryStore):
        raise InputError(
            "A store in memory cannot be shared with a cluster: make it in a folder or at a URL "
            "that all workers reach."
        )
    pixels: list[pickle.PickleBuffer] = []
    cloudpickle.dumps(scene, protocol=5, buffer_callback=pixels.append)
    size = sum(buffer.raw().nbytes for buffer in pixels)
    if size > _LARGEST_SCENE:
        raise InputError(
            f"{scene.name} holds {size / 1e9:.1f} GB, too much to send to every worker: save it as "
            f"TIFF or Zarr where all workers reach it, and open that."
        )
    weights = io.BytesIO()
    accelerated = isinstance(sam.image_encoder, OpenVinoEncoder)
    torch.save(sam, weights)
    return _Parcel(
        napari_sam.__version__,
        cloudpickle.dumps(scene),
        weights.getvalue(),
        sam.device.type,
        accelerated,
        where,
        store.layout.to_dict(),
        batch,
    )


def _unpack(parcel: _Parcel) -> tuple[Scene, Sam, EmbeddingStore]:
    """Make everything again, and make sure that it is the same."""
    import torch

    if parcel.version != napari_sam.__version__:
        raise InputError(
            f"version {napari_sam.__version__} of napari-sam-tiled is installed, not "
            f"{parcel.version}: install the same everywhere."
        )
    # A slot of a worker stands for one core, where nothing else was said.
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
    store = EmbeddingStore.open(parcel.store)
    if store.layout.to_dict() != parcel.layout:
        raise StoreMismatch(
            f"{store!r} is another one than where the run was started: give a place that all "
            f"workers reach under this name."
        )
    scene = pickle.loads(parcel.scene)
    sam = _rebuilt(parcel)
    store.check(scene=SceneInfo.of(scene), model=ModelInfo.of(sam))
    # Here, and not for each task: what is known of the levels is read once.
    return keep_levels(scene, store), sam, store


def _rebuilt(parcel: _Parcel) -> Sam:
    """Return the network as it was, on a device of the same kind."""
    import torch

    if parcel.device == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "there is no GPU, and the network was on one: start workers where there are GPUs, or "
            "load the network with device='cpu'."
        )
    # It comes from whoever may run any code here.
    sam: Sam = torch.load(io.BytesIO(parcel.sam), map_location="cpu", weights_only=False)
    if parcel.accelerated:
        from src_model.openvino_backend import accelerate

        dtype = next(sam.mask_decoder.parameters()).dtype
        return accelerate(sam.set_precision(torch.float32)).set_precision(dtype)
    sam.to(parcel.device)
    return sam
