"""Prompts on an embedding: one click to full-size masks, 64 at once to low-resolution logits."""

from __future__ import annotations

import torch
from models import picture
from report import Figure, alternate

from src_model import Sam, SamPredictor

GOALS = {1: 1.5, 64: 3.0}


@torch.inference_mode()
def figures(theirs: torch.nn.Module, ours: dict[str, Sam], repeats: int) -> list[Figure]:
    """Compare one click and 64 clicks; the image is encoded beforehand."""
    from transformers import SamImageProcessorPil

    processor = SamImageProcessorPil()
    predictors = {name: SamPredictor(sam) for name, sam in ours.items()}
    for predictor in predictors.values():
        predictor.set_image(picture())
    first = next(iter(predictors.values()))
    embedding, original, resized = first.features, first.original_size, first.input_size
    points = torch.rand(64, 1, 2, generator=torch.Generator().manual_seed(0)) * 700
    labels = torch.ones(64, 1, dtype=torch.int)

    def their_clicks(count: int) -> torch.Tensor:
        return theirs(
            image_embeddings=embedding,
            input_points=points[None, :count],
            input_labels=labels[None, :count],
            multimask_output=True,
        ).pred_masks

    def their_click() -> object:
        return processor.post_process_masks(their_clicks(1), [original], [resized])

    def our_clicks(sam: Sam) -> torch.Tensor:
        sparse, dense = sam.prompt_encoder((points, labels), None, None)
        return sam.mask_decoder(
            image_embeddings=embedding,
            image_pe=sam.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
        )[0]

    ones = alternate(
        5 * repeats,
        theirs=their_click,
        **{
            name: lambda p=p: p.predict_torch(points[:1], labels[:1])
            for name, p in predictors.items()
        },
    )
    many = alternate(
        repeats,
        theirs=lambda: their_clicks(64),
        **{name: lambda sam=sam: our_clicks(sam) for name, sam in ours.items()},
    )
    return [
        *(Figure(f"one click, {n}", ones["theirs"], ones[n], GOALS[1]) for n in ours),
        *(Figure(f"64 clicks at once, {n}", many["theirs"], many[n], GOALS[64]) for n in ours),
    ]
