"""Distillation: the student comes to see as the teacher does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from recipe import SMALL_TINY_VIT, SMALL_VIT, load_seeded_weights, made_image
from torch import Tensor

from src_model import Sam, SamPredictor, build_sam, load_model
from src_model.checkpoints import save_checkpoint
from src_model.training.distill import distill, take_over_decoder
from src_model.training.encoder_fitting import FitConfig, FitStep

TEACHER = replace(
    SMALL_VIT, name="teacher", image_size=64, decoder_mlp_dim=64, num_multimask_outputs=2
)
STUDENT = replace(SMALL_TINY_VIT, name="student", image_size=64)
CONFIG = FitConfig(steps=4, batch=2, lr=4e-3, warmup=2)


def pictures() -> list[NDArray[np.uint8]]:
    shapes = [(40, 60), (64, 64), (80, 30), (50, 50)]
    return [np.roll(made_image(*shape), 7 * i, axis=1) for i, shape in enumerate(shapes)]


def teacher() -> Sam:
    return load_seeded_weights(build_sam(TEACHER))


def student() -> Sam:
    torch.manual_seed(0)
    return build_sam(STUDENT)


def click(sam: Sam, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    return predictor.predict(np.array([[20.0, 25.0]]), np.array([1]))[2]


def test_the_student_comes_close_to_its_teacher(tmp_path: Path) -> None:
    model, source = student(), teacher()
    untrained = student()
    take_over_decoder(untrained, source)
    losses = []
    distill(
        model,
        source,
        pictures(),
        replace(CONFIG, steps=100, batch=4, warmup=10),
        lambda step: losses.append(step.loss),
    )
    assert np.mean(losses[-5:]) < 0.4 * losses[0]
    for image in pictures():
        wanted = click(source, image)
        distance = np.abs(click(model, image) - wanted).mean()
        assert distance < 0.8 * np.abs(click(untrained, image) - wanted).mean()
        assert len(wanted) == len(click(model, image)) == 2

    for part in ("prompt_encoder", "mask_decoder"):
        own, taken = getattr(model, part).state_dict(), getattr(source, part).state_dict()
        assert list(own) == list(taken)
        for key, tensor in own.items():
            assert torch.equal(tensor, taken[key])
            assert tensor.data_ptr() != taken[key].data_ptr()  # a copy
    # The decoder's dimensions are the teacher's, so this is no "student" any more.
    assert model.variant == replace(
        STUDENT, name="custom", decoder_mlp_dim=64, num_multimask_outputs=2
    )
    save_checkpoint(model, tmp_path / "student.safetensors")
    loaded = load_model(tmp_path / "student.safetensors", "cpu", "float32")
    np.testing.assert_allclose(
        click(loaded, pictures()[0]), click(model, pictures()[0]), rtol=1e-4, atol=1e-4
    )


def test_a_decoder_of_the_same_dimensions_keeps_the_variant() -> None:
    model = student()
    take_over_decoder(model, load_seeded_weights(build_sam(replace(SMALL_VIT, image_size=64))))
    assert model.variant == STUDENT


class Stopped(Exception):
    pass


def test_a_resumed_run_ends_bitwise_the_same(tmp_path: Path) -> None:
    def on_step(step: FitStep) -> None:
        if step.step == 2:
            torch.save(step.state(), tmp_path / "last.pt")
            raise Stopped

    whole, stopped, resumed = student(), student(), student()
    distill(whole, teacher(), pictures(), CONFIG)
    with pytest.raises(Stopped):
        distill(stopped, teacher(), pictures(), CONFIG, on_step)
    assert stopped.variant == STUDENT  # the decoder comes last
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    distill(resumed, teacher(), pictures(), CONFIG, resume=state)
    for key, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[key]), key


def test_each_picture_is_encoded_by_the_teacher_once() -> None:
    source, cache = teacher(), dict[int, Tensor]()
    calls = []
    source.image_encoder.register_forward_hook(lambda *_: calls.append(1))
    cached, plain = student(), student()
    distill(cached, source, pictures(), CONFIG, cache=cache)
    assert len(calls) == len(cache) <= len(pictures())
    distill(student(), source, pictures(), CONFIG, cache=cache)
    assert len(calls) == len(cache)
    distill(plain, source, pictures(), CONFIG)
    assert len(calls) == len(cache) + CONFIG.steps * CONFIG.batch
    for key, tensor in plain.state_dict().items():
        assert torch.equal(tensor, cached.state_dict()[key]), key
    with pytest.raises(ValueError, match="empty the cache"):
        distill(student(), source, pictures(), CONFIG, cache=dict.fromkeys(cache, torch.zeros(3)))
    with pytest.raises(ValueError, match="cannot be cached"):
        distill(student(), source, lambda rng: pictures()[0], CONFIG, cache={})


def test_a_teacher_of_other_embeddings_is_refused() -> None:
    for other in (replace(STUDENT, image_size=128), replace(STUDENT, out_chans=64)):
        model = build_sam(other)
        before = list(model.state_dict())
        with pytest.raises(ValueError, match=r"teacher of 32 x 4 x 4: choose a student"):
            distill(model, teacher(), pictures(), CONFIG)
        with pytest.raises(ValueError, match=r"teacher of 32 x 4 x 4: choose a student"):
            take_over_decoder(model, teacher())
        assert list(model.state_dict()) == before
