"""What every file that leaves the program says of where its objects come from."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import PurePosixPath

import napari_sam

__all__ = ["ABOUT", "model_licence", "provenance", "provenance_said"]

ABOUT = "napari_sam_tiled"
"""Under which it is kept where a format has attributes of any name."""

_UNKNOWN = "unknown"


def provenance(
    image: str, model: str | None = None, model_hash: str | None = None
) -> dict[str, str]:
    """Say where objects come from.

    Parameters
    ----------
    image : str
        Path or address of the image, of which only the last part is kept: folders are nobody's
        business.
    model : str, optional
        Name or file of the model that found them; None where people drew them, or nothing tells.
    model_hash : str, optional
        Of its weights.

    Returns
    -------
    dict
        ``program``, ``image``, ``created`` (ISO 8601, UTC), ``model``, ``model_hash`` and
        ``model_licence``.

    Examples
    --------
    >>> said = provenance("/home/me/cells.tif", "vit_nano")
    >>> said["image"], said["model"], said["model_licence"]
    ('cells.tif', 'vit_nano', 'Apache-2.0')
    """
    return {
        "program": f"napari-sam-tiled {napari_sam.__version__}",
        "image": _last(image),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": "none" if model is None else _last(model),
        "model_hash": model_hash or _UNKNOWN,
        "model_licence": "none" if model is None else model_licence(model),
    }


def model_licence(model: str) -> str:
    """Return the licence of a model's weights, ``"unknown"`` where nothing tells it.

    Parameters
    ----------
    model : str
        A published name, the name of a model of one's own, or a file.

    Examples
    --------
    >>> model_licence("vit_b_lm"), model_licence("somebody.pth")
    ('CC-BY-4.0', 'unknown')
    """
    from napari_sam.own_models import find_own_model
    from src_model.checkpoints import CHECKPOINTS

    if model in CHECKPOINTS:
        return CHECKPOINTS[model].licence
    own = find_own_model(model)
    return _UNKNOWN if own is None or not own.card.licence else own.card.licence


def provenance_said(known: Mapping[str, str]) -> str:
    """Return it as one line of text, for formats that hold nothing else.

    Examples
    --------
    >>> provenance_said({"program": "napari-sam-tiled 1.0", "model": "vit_nano",
    ...                  "model_licence": "Apache-2.0", "image": "a.tif", "created": "2026-01-02"})
    'napari-sam-tiled 1.0; model: vit_nano; model licence: Apache-2.0; image: a.tif; \
created: 2026-01-02'
    """
    rest = [
        f"{name.replace('_', ' ')}: {text}" for name, text in known.items() if name != "program"
    ]
    return "; ".join([known.get("program", "napari-sam-tiled"), *rest])


def _last(path: str) -> str:
    return PurePosixPath(path.rstrip("/").replace("\\", "/")).name
