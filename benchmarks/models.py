"""The same random vit_b in every form that is compared."""

from __future__ import annotations

import copy
import importlib.util
import os
import tempfile
from unittest import mock

import numpy as np
import torch
from transformers_weights import transformers_model

from src_model import Sam, build_sam
from src_model.loading import multiplies_bfloat16


def seeded_vit_b() -> Sam:
    """Return vit_b with random weights of realistic scale, the same in every run."""
    torch.manual_seed(0)
    sam = build_sam("vit_b")
    with torch.no_grad():
        for name, parameter in sam.named_parameters():
            if "rel_pos" in name or name.endswith("pos_embed"):
                parameter.normal_(0, 0.2)
    return sam


def all_forms() -> tuple[torch.nn.Module, dict[str, Sam]]:
    """Return `transformers`' model, and ours as float32, bfloat16 and (if installed) OpenVINO."""
    sam = seeded_vit_b()
    theirs = transformers_model(sam)
    ours = {
        "torch float32": sam,
        "torch bfloat16": copy.deepcopy(sam).set_precision(torch.bfloat16),
    }
    if importlib.util.find_spec("openvino") is not None:
        ours["OpenVINO"] = _openvino(copy.deepcopy(sam))
    return theirs, ours


def _openvino(sam: Sam) -> Sam:
    """Prepare a model as ``load_model(precision="openvino")`` does, without leaving a graph."""
    from src_model.openvino_backend import accelerate

    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        mock.patch.dict(os.environ, NAPARI_SAM_CACHE=folder),
    ):
        accelerate(sam)
    if multiplies_bfloat16(sam.device):
        sam.set_precision(torch.bfloat16)
    return sam


def picture(height: int = 768, width: int = 1024) -> np.ndarray:
    """Return a smooth coloured picture (height, width, 3) uint8."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 37 + y / 91), np.cos(y / 53), np.sin((x - y) / 71)]
    return np.stack([127 + 100 * w for w in waves], axis=-1).astype(np.uint8)
