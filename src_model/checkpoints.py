"""The published checkpoints: names, addresses, hashes, licences, and where their files lie.

Three environment variables steer downloads: ``NAPARI_SAM_CACHE`` (the folder for files, otherwise
the operating system's cache folder), ``NAPARI_SAM_MIRROR`` (the base URL of a server that has the
same files), ``NAPARI_SAM_OFFLINE`` (set to 1: never touch the network, say which file to place
where).

What is done with the files themselves (read, load, find the variant, save) is in `weight_files` and
`variant_from_weights`, and may be imported from here as well.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path

from .downloading import OnBytes, fetch, is_whole
from .errors import CheckpointError
from .variant_from_weights import find_variant
from .weight_files import (
    load_weights,
    model_hash,
    read_state_dict,
    read_variant,
    save_checkpoint,
)

__all__ = [
    "CHECKPOINTS",
    "Checkpoint",
    "CheckpointError",
    "CheckpointStatus",
    "cache_directory",
    "checkpoint_path",
    "download",
    "find_variant",
    "get_checkpoint",
    "list_checkpoints",
    "load_weights",
    "model_hash",
    "read_state_dict",
    "read_variant",
    "save_checkpoint",
]

META = "https://dl.fbaipublicfiles.com/segment_anything/"
BIOIMAGE = "https://uk1s3.embassy.ebi.ac.uk/public-datasets/bioimage.io/"
OWNCLOUD = "https://owncloud.gwdg.de/index.php/s/"


@dataclass(frozen=True)
class Checkpoint:
    """One file of weights.

    Attributes
    ----------
    name : str
        The name a person gives, for instance ``"vit_b_lm"``.
    variant : str
        The architecture it fits, a key of `src_model.VARIANTS`.
    file_name : str
        Its file's name in the cache folder and on a mirror.
    url : str or None
        Where it is published; None for the file that is part of this package.
    hash : str or None
        ``"sha256:..."`` or ``"xxh128:..."`` of the published file; None for the bundled one.
    size : int or None
        Bytes, where known.
    licence : str
        SPDX identifier of the weights' licence, or where to read it.
    description : str
        What it was trained on, in a few words.
    """

    name: str
    variant: str
    file_name: str
    url: str | None
    hash: str | None
    size: int | None
    licence: str
    description: str


@dataclass(frozen=True)
class CheckpointStatus:
    """What is on this machine of one checkpoint.

    Attributes
    ----------
    checkpoint : Checkpoint
        The row of the table.
    path : Path
        Where its file is, or belongs.
    bytes_on_disk : int
        The file's size, 0 where there is none.
    bytes_partial : int
        How much an interrupted download has left for the next try to go on from.
    """

    checkpoint: Checkpoint
    path: Path
    bytes_on_disk: int
    bytes_partial: int


_ROWS = (
    Checkpoint(
        "vit_nano",
        "vit_nano",
        "vit_nano.safetensors",
        None,
        None,
        None,
        "Apache-2.0",
        "small and fast, ships with this package",
    ),
    Checkpoint(
        "vit_t",
        "vit_t",
        "mobile_sam.pt",
        "https://raw.githubusercontent.com/ChaoningZhang/MobileSAM/master/weights/mobile_sam.pt",
        "sha256:6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
        40_728_226,
        "Apache-2.0",
        "MobileSAM: vit_h distilled into a TinyViT",
    ),
    Checkpoint(
        "vit_b",
        "vit_b",
        "sam_vit_b_01ec64.pth",
        META + "sam_vit_b_01ec64.pth",
        "sha256:ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        375_042_383,
        "Apache-2.0",
        "the original, base size",
    ),
    Checkpoint(
        "vit_l",
        "vit_l",
        "sam_vit_l_0b3195.pth",
        META + "sam_vit_l_0b3195.pth",
        "sha256:3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        None,
        "Apache-2.0",
        "the original, large size",
    ),
    Checkpoint(
        "vit_h",
        "vit_h",
        "sam_vit_h_4b8939.pth",
        META + "sam_vit_h_4b8939.pth",
        "sha256:a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        None,
        "Apache-2.0",
        "the original, huge size",
    ),
    Checkpoint(
        "vit_t_lm",
        "vit_t",
        "vit_t_lm.pt",
        BIOIMAGE + "faithful-chicken/1.1/files/vit_t.pt",
        "xxh128:72ec5074774761a6e5c05a08942f981e",
        None,
        "CC-BY-4.0",
        "micro-sam for light microscopy, tiny size",
    ),
    Checkpoint(
        "vit_b_lm",
        "vit_b",
        "vit_b_lm.pt",
        BIOIMAGE + "diplomatic-bug/1.2/files/vit_b.pt",
        "xxh128:fe9252a29f3f4ea53c15a06de471e186",
        None,
        "CC-BY-4.0",
        "micro-sam for light microscopy, base size",
    ),
    Checkpoint(
        "vit_l_lm",
        "vit_l",
        "vit_l_lm.pt",
        BIOIMAGE + "idealistic-rat/1.2/files/vit_l.pt",
        "xxh128:017f20677997d628426dec80a8018f9d",
        None,
        "CC-BY-4.0",
        "micro-sam for light microscopy, large size",
    ),
    Checkpoint(
        "vit_b_em_organelles",
        "vit_b",
        "vit_b_em_organelles.pt",
        BIOIMAGE + "noisy-ox/1.2/files/vit_b.pt",
        "xxh128:f3bf2ed83d691456bae2c3f9a05fb438",
        None,
        "CC-BY-4.0",
        "micro-sam for organelles in electron microscopy",
    ),
    Checkpoint(
        "vit_b_histopathology",
        "vit_b",
        "vit_b_histopathology.pt",
        OWNCLOUD + "sBB4H8CTmIoBZsQ/download",
        "xxh128:ffd1a2cd84570458b257bd95fdd8f974",
        None,
        "see https://owncloud.gwdg.de/index.php/s/sBB4H8CTmIoBZsQ",
        "patho-sam for nuclei in histopathology",
    ),
    Checkpoint(
        "vit_b_medical_imaging",
        "vit_b",
        "vit_b_medical_imaging.pt",
        OWNCLOUD + "f5Ol4FrjPQWfjUF/download",
        "xxh128:40169f1e3c03a4b67bff58249c176d92",
        None,
        "see https://owncloud.gwdg.de/index.php/s/f5Ol4FrjPQWfjUF",
        "medico-sam for medical images",
    ),
)

CHECKPOINTS: dict[str, Checkpoint] = {row.name: row for row in _ROWS}
"""Every checkpoint `load_model` knows by name, smallest first."""


def get_checkpoint(name: str) -> Checkpoint:
    """Return the row of the table with this name.

    Raises
    ------
    CheckpointError
        If there is none; the message lists the names there are.

    Examples
    --------
    >>> get_checkpoint("vit_b").size
    375042383
    """
    if name not in CHECKPOINTS:
        raise CheckpointError(
            f"There is no model named {name!r}: choose one of {', '.join(CHECKPOINTS)}."
        )
    return CHECKPOINTS[name]


def cache_directory() -> Path:
    """Return the folder downloaded checkpoints lie in (it need not exist yet)."""
    import pooch

    folder = os.environ.get("NAPARI_SAM_CACHE")
    return Path(folder).expanduser() if folder else Path(pooch.os_cache("napari-sam"))


def checkpoint_path(name: str) -> Path:
    """Return where the file of a checkpoint is, or belongs; nothing is downloaded or checked.

    Parameters
    ----------
    name : str
        A name in `CHECKPOINTS`.

    Raises
    ------
    CheckpointError
        If the name is unknown.
    """
    checkpoint = get_checkpoint(name)
    if checkpoint.url is None:
        return Path(__file__).with_name("weights") / checkpoint.file_name
    return cache_directory() / checkpoint.file_name


def list_checkpoints() -> list[CheckpointStatus]:
    """Return every known checkpoint with what is on disk of it, without opening any file."""
    rows = []
    for checkpoint in CHECKPOINTS.values():
        path = checkpoint_path(checkpoint.name)
        part = path.with_name(path.name + ".part")
        rows.append(CheckpointStatus(checkpoint, path, *map(_size_on_disk, (path, part))))
    return rows


def download(
    name: str, progress: bool = True, timeout: float = 30.0, on_bytes: OnBytes | None = None
) -> Path:
    """Return the path of a checkpoint's verified file, downloading it if missing or spoilt.

    An interrupted download goes on where it stopped. Processes that want the same file at the same
    time wait for the one that downloads it.

    Parameters
    ----------
    name : str
        A name in `CHECKPOINTS`.
    progress : bool
        Whether to draw a progress bar.
    timeout : float
        Seconds the server may stay silent before the download is given up.
    on_bytes : callable, optional
        Called for every piece that arrives with the bytes that are there, and those of the whole
        file or None. What it raises ends the download; the next one goes on from there.

    Returns
    -------
    Path
        A file of the published size and hash.

    Raises
    ------
    CheckpointError
        If the name is unknown, the download fails, or ``NAPARI_SAM_OFFLINE`` is set and there is
        no such file here; the message says which file to place where.
    """
    checkpoint = get_checkpoint(name)
    path = checkpoint_path(name)
    if checkpoint.url is None or checkpoint.hash is None:
        if not path.is_file():
            raise CheckpointError(
                f"{path} is missing, though it is part of this package: install it again."
            )
        return path
    present = path.is_file()
    if present and is_whole(path, checkpoint.hash, checkpoint.size):
        return path
    if os.environ.get("NAPARI_SAM_OFFLINE", "0") not in ("", "0"):
        state = (
            "is not the published file (its size or hash differs)" if present else "is not there"
        )
        size = f"{checkpoint.size:,} bytes, " if checkpoint.size is not None else ""
        raise CheckpointError(
            f"{path} {state} and NAPARI_SAM_OFFLINE forbids downloading: fetch {checkpoint.url} "
            f"({size}{checkpoint.hash}) on another machine and place it as exactly that file."
        )
    if present:
        warnings.warn(
            f"{path} is not the published file (its size or hash differs) and is downloaded again.",
            stacklevel=2,
        )
    mirror = os.environ.get("NAPARI_SAM_MIRROR")
    url = f"{mirror.rstrip('/')}/{checkpoint.file_name}" if mirror else checkpoint.url
    fetch(url, path, checkpoint.hash, checkpoint.size, timeout, progress, on_bytes)
    return path


def _size_on_disk(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
