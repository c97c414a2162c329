"""What the embeddings of a store were made from, and how something else differs from it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from .geometry import TileGeometry

if TYPE_CHECKING:
    from napari_sam.scene import Scene
    from src_model import Sam

__all__ = [
    "ModelInfo",
    "SceneInfo",
    "by",
    "geometry_differences",
    "model_differences",
    "plain",
    "scene_differences",
]


@dataclass(frozen=True)
class SceneInfo:
    """What embeddings depend on of a Scene.

    Parameters
    ----------
    name : str
        The path or URL, for people; a Scene that moved is the same.
    shape : (int, int)
        Rows and columns of level 0.
    axes : str
        Of the whole image.
    channels : tuple of str
        Those that were looked at.
    fingerprint : str
        What `napari_sam.scene.fingerprint` gives.
    normalisation : mapping
        What `Normalisation.to_dict` gives.
    t, z : int
        Which plane.
    nodata : float or None
        The value of pixels without data; None where nothing or a mask of the file tells them.
    part : str or None
        Which image of a file that holds several.
    """

    name: str
    shape: tuple[int, int]
    axes: str
    channels: tuple[str, ...]
    fingerprint: str
    normalisation: Mapping[str, Any]
    t: int = 0
    z: int = 0
    nodata: float | None = None
    part: str | None = None

    @classmethod
    def of(cls, scene: Scene) -> SceneInfo:
        """Describe a Scene; reads what its fingerprint is made of.

        Raises
        ------
        InputError
            If the image cannot be read.
        """
        from napari_sam.scene import fingerprint

        return cls(
            name=scene.name,
            shape=scene.shape,
            axes=scene.axes,
            channels=scene.channels,
            fingerprint=fingerprint(scene),
            normalisation=scene.normalisation.to_dict(),
            t=scene.t,
            z=scene.z,
            nodata=None if scene.nodata is None or scene.masked else float(scene.nodata),
            part=scene.part,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return what is saved; `part`, which earlier versions do not know, only where it is."""
        saved = asdict(self)
        if self.part is None:
            del saved["part"]
        return plain(saved)

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> SceneInfo:
        """Read what `to_dict` gave.

        Raises
        ------
        KeyError, TypeError, ValueError
            If something is missing or wrong in it.
        """
        rows, cols = saved["shape"]
        shape = int(rows), int(cols)
        return cls(**{**saved, "shape": shape, "channels": tuple(saved["channels"])})


@dataclass(frozen=True)
class ModelInfo:
    """Which network made the embeddings.

    Parameters
    ----------
    hash : str
        What `src_model.weight_files.model_hash` gives.
    variant : mapping
        What `Variant.to_dict` gives.
    embedding_shape : (int, int, int)
        Channels, rows and columns of an embedding.
    precision : str
        In which the encoder computes: ``"float32"``, ``"bfloat16"``, ``"openvino float32"``, ...
    encoder_hash : str
        What `src_model.weight_files.encoder_hash` gives; empty where it is not known, as in stores
        of earlier versions.
    """

    hash: str
    variant: Mapping[str, Any]
    embedding_shape: tuple[int, int, int]
    precision: str = "float32"
    encoder_hash: str = ""

    @classmethod
    def of(cls, sam: Sam) -> ModelInfo:
        """Describe a network; hashes its weights."""
        from src_model.weight_files import encoder_hash, model_hash

        variant = sam.variant
        return cls(
            model_hash(sam),
            variant.to_dict(),
            variant.embedding_shape,
            _precision(sam),
            encoder_hash(sam),
        )

    def encodes_like(self, other: ModelInfo) -> bool:
        """Tell whether the embeddings of another model are those of this one.

        They are if it is the same model, or one that differs only behind the image encoder, such
        as a fine-tuned decoder. Where one does not say which encoder it has, only the same model
        will do. In which precision they compute does not count.

        Examples
        --------
        >>> base = ModelInfo("a" * 64, {"name": "vit_b"}, (256, 64, 64), encoder_hash="e" * 64)
        >>> base.encodes_like(ModelInfo("b" * 64, {"name": "vit_b"}, (256, 64, 64),
        ...                             encoder_hash="e" * 64))
        True
        """
        return self.hash == other.hash or (
            self.encoder_hash != ""
            and self.encoder_hash == other.encoder_hash
            and plain(self.variant) == plain(other.variant)
        )

    @property
    def number_format(self) -> str:
        """The type of number it computes in, whatever library does it.

        Embeddings in one type differ between libraries as they do between processors; in two types
        they differ a hundred times as much.
        """
        return self.precision.split()[-1]


def _precision(sam: Sam) -> str:
    """Return in which precision an image encoder computes."""
    from src_model.loading import multiplies_bfloat16
    from src_model.openvino_backend import OpenVinoEncoder

    if isinstance(sam.image_encoder, OpenVinoEncoder):
        # It was compiled for the processor, whatever type the weights have.
        return f"openvino {'bfloat16' if multiplies_bfloat16(sam.device) else 'float32'}"
    return str(next(sam.image_encoder.parameters()).dtype).removeprefix("torch.")


def scene_differences(there: SceneInfo, given: SceneInfo) -> list[str]:
    """Return what differs, each as a part of a sentence that says what was there."""
    found = []
    if tuple(there.shape) != tuple(given.shape):
        found.append(f"another size (it has {by(there.shape)} pixels, not {by(given.shape)})")
    for what in ("axes", "channels", "t", "z", "nodata", "part"):
        was, now = getattr(there, what), getattr(given, what)
        if was != now:
            found.append(f"other {what} (it has {_said(was)}, not {_said(now)})")
    if plain(there.normalisation) != plain(given.normalisation):
        found.append(
            f"another normalisation (it has {_stretch(there)}, not {_stretch(given)}; open the "
            f"scene with the store's to go on with it)"
        )
    # The fingerprint depends on most of the above; only alone does it tell of other pixels.
    if not found and there.fingerprint != given.fingerprint:
        found.append(
            f"other pixels (fingerprint {there.fingerprint[:8]}, not {given.fingerprint[:8]})"
        )
    return found


def _stretch(scene: SceneInfo) -> str:
    low, high = scene.normalisation.get("low", ()), scene.normalisation.get("high", ())
    ranges = [f"{a:.6g}..{b:.6g}" for a, b in zip(low, high, strict=True)]
    return f"{scene.normalisation.get('kind')} {', '.join(ranges)}"


def _said(value: object) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def model_differences(there: ModelInfo, given: ModelInfo) -> list[str]:
    """Likewise."""
    if not given.encodes_like(there):
        names = there.variant.get("name"), given.variant.get("name")
        return [
            f"another model (it was encoded with {names[0]} {there.hash[:8]}, this is "
            f"{names[1]} {given.hash[:8]})"
        ]
    if given.number_format != there.number_format:
        return [
            f"another precision (it was encoded in {there.number_format}, this model computes in "
            f"{given.number_format}; load it with precision {there.number_format} to go on)"
        ]
    return []


def geometry_differences(there: TileGeometry, given: TileGeometry) -> list[str]:
    """Likewise."""
    if given == there:
        return []
    return [
        f"other tiles (it has tiles of {there.tile} with a halo of {there.halo} for "
        f"{by(there.shape)} pixels, not of {given.tile} with {given.halo} for {by(given.shape)})"
    ]


def by(shape: Sequence[int]) -> str:
    """Say rows and columns."""
    return f"{shape[0]} × {shape[1]}"


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as JSON gives them back: tuples become lists."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(values)))
    return plain
