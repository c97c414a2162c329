"""Encoding one frame."""

from __future__ import annotations

import torch
from report import Figure, alternate

from src_model import Sam

GOALS = {"torch float32": 1.3, "torch bfloat16": 2.3, "OpenVINO": 4.0}


@torch.inference_mode()
def figures(theirs: torch.nn.Module, ours: dict[str, Sam], repeats: int) -> list[Figure]:
    """Compare the encoders on one random frame."""
    frame = torch.randn(1, 3, 1024, 1024)
    exact = theirs.get_image_embeddings(frame).flatten()
    tasks = {name: lambda sam=sam: sam.image_encoder(frame) for name, sam in ours.items()}
    seconds = alternate(repeats, theirs=lambda: theirs.get_image_embeddings(frame), **tasks)
    found = []
    for name, sam in ours.items():
        pair = torch.stack([exact, sam.image_encoder(frame).flatten()])
        correlation = torch.corrcoef(pair)[0, 1].item()
        found.append(
            Figure(
                f"encode, {name}",
                seconds["theirs"],
                seconds[name],
                GOALS[name],
                f"correlation {correlation:.5f}",
            )
        )
    return found
