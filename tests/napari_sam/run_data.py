"""Pictures, a tiny model and quick settings for tests of training runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from skimage import io
from training_toys import TINY, Scenes, tiny_sam

from napari_sam.finetune.settings import RunSettings, settings_from_dict
from src_model import Variant
from src_model.weight_files import save_checkpoint


def write_run_data(folder: Path, variant: Variant = TINY) -> Path:
    """Write images, labels, a hold-out of two more, and a base model."""
    scenes = Scenes()
    for part, indices in (("", range(3)), ("watched", range(3, 5))):
        for name in ("images", "labels"):
            (folder / part / name).mkdir(parents=True)
        for index in indices:
            picture = scenes[index]
            labels = np.zeros(picture.objects.shape, np.uint8)
            for number in range(len(picture.objects)):
                labels[picture.objects.full(number)] = number + 1
            name = f"{index - indices.start}.png"
            io.imsave(folder / part / "images" / name, picture.image, check_contrast=False)
            io.imsave(folder / part / "labels" / name, labels, check_contrast=False)
    save_checkpoint(tiny_sam(variant), folder / "base.safetensors")
    return folder


def quick_settings(data: Path, watched: bool = False, **changes: Any) -> RunSettings:
    """Return settings for a run of six quick steps."""
    values: dict[str, Any] = {
        "images": str(data / "images"),
        "labels": str(data / "labels"),
        "base": str(data / "base.safetensors"),
        "steps": 6,
        "warmup": 2,
        "error_points": 1,
        "precision": "float32",
        "workers": 0,
        "batch": 1,
        "validation_share": 0,
        "validate_every": 3,
        "threshold_pictures": 1,
        "save_every": 2,
    }
    if watched:
        values["watched_images"] = str(data / "watched" / "images")
        values["watched_labels"] = str(data / "watched" / "labels")
    return settings_from_dict({**values, **changes})
