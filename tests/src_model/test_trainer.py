"""Training goes on where it stopped, in bounded memory, and learns."""

from __future__ import annotations

import copy
import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training_toys import TINY, TINY_VIT, Scenes, tiny_config, tiny_sam

from src_model.decoding import decode
from src_model.training.config import TrainingConfig
from src_model.training.feed import Feed, sample_batches
from src_model.training.interactive import Interaction, backward_objects
from src_model.training.optimizer import Optimizer
from src_model.training.pictures import ObjectMasks, Picture
from src_model.training.trainer import NotFinite, Trainer

METHODS: list[dict[str, Any]] = [
    {"start": "random", "auxiliary": 1.0, "window": 64},
    {"drop_path": 0.2, "layer_decay": 0.8, "generated": 0.5, "accumulate": 2},
    {"method": "decoder"},
    {"method": "lora", "lora_targets": ("encoder.qkv", "decoder.q_proj")},
    {"precision": "bfloat16", "schedule": "step", "local": 1.0},
]


def trainer(**changes: Any) -> Trainer:
    return Trainer(tiny_sam(), Scenes(), tiny_config(**changes))


@pytest.mark.parametrize("changes", METHODS, ids="-".join)
def test_a_resumed_run_equals_an_uninterrupted_one_bitwise(changes: dict[str, Any]) -> None:
    whole = trainer(**changes)
    for _ in range(2):
        whole.step()
    state = copy.deepcopy(whole.state_dict())
    reports = [whole.step() for _ in range(2)]
    resumed = trainer(**changes)
    resumed.load_state_dict(state)
    assert [resumed.step() for _ in range(2)] == reports
    for name, value in whole.optimizer.master.items():
        assert torch.equal(value, resumed.optimizer.master[name]), name
    for (name, a), (_, b) in zip(
        whole.sam.named_buffers(), resumed.sam.named_buffers(), strict=True
    ):
        assert torch.equal(a, b), name


@pytest.mark.parametrize(
    ("changes", "trained"),
    [
        ({}, {"image_encoder", "prompt_encoder", "mask_decoder"}),
        ({"method": "decoder"}, {"prompt_encoder", "mask_decoder"}),
        ({"method": "lora", "lora_targets": ("decoder.q_proj",)}, {"mask_decoder"}),
    ],
)
def test_a_method_changes_exactly_what_it_trains(
    changes: dict[str, Any], trained: set[str]
) -> None:
    run = trainer(**changes)
    for _ in range(2):
        run.step()
    before, after = tiny_sam().state_dict(), run.export(tiny_sam()).state_dict()
    changed = {
        name.split(".")[0]
        for name, value in after.items()
        if name not in before or not torch.equal(value, before[name])
    }
    assert changed == trained


def test_training_reduces_the_loss() -> None:
    class Square:
        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: int) -> Picture:
            image = np.full((128, 128, 3), 40, np.uint8)
            labels = np.zeros((128, 128), int)
            labels[32:80, 40:100] = 1
            image[labels > 0] = 200
            return Picture("square", image, ObjectMasks.from_labels(labels))

    config = tiny_config(
        start="random", auxiliary=1.0, error_points=0, box_share=0.0, batch=1, lr=2e-3, steps=40
    )
    run = Trainer(tiny_sam(), Square(), config)
    losses = [run.step().figures["loss"] for _ in range(config.steps)]
    assert np.mean(losses[-5:]) < 0.85 * np.mean(losses[:3])


def test_a_random_start_takes_nothing_but_the_architecture() -> None:
    first, second = tiny_sam(), tiny_sam()
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.add_(1)
    for sam in (first, second):
        Trainer(sam, Scenes(), tiny_config(start="random"))

    for name, weights in first.state_dict().items():
        assert torch.equal(weights, second.state_dict()[name]), name


def test_chunks_of_objects_add_up_to_the_same_gradient() -> None:
    """Without corrections nothing but the grouping differs."""
    labels = np.zeros((128, 128), int)
    for label in range(1, 6):
        labels[20 * label : 20 * label + 12, 10 * label : 10 * label + 30] = label
    objects = ObjectMasks.from_labels(labels)
    gradients = []
    for chunk in (2, 50):
        sam = tiny_sam()
        embedding = torch.linspace(-1, 1, 32 * 8 * 8).view(1, 32, 8, 8).requires_grad_()
        interaction = Interaction(error_points=0, box_share=1.0, chunk=chunk)

        class Fixed(np.random.Generator):
            def normal(self, *args: Any, **kwargs: Any) -> Any:
                return np.zeros(kwargs.get("size", args[2] if len(args) > 2 else None))

        rng = Fixed(np.random.PCG64(0))
        backward_objects(rng, sam, embedding, objects, interaction)
        assert embedding.grad is not None
        gradients.append(embedding.grad)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-6)


def test_what_is_learned_around_an_object_goes_back_to_its_place() -> None:
    labels = np.zeros((512, 512), int)
    labels[400:430, 60:90] = 1
    torch.manual_seed(0)
    embedding = torch.randn(1, 32, 32, 32, requires_grad=True)
    sam = tiny_sam(dataclasses.replace(TINY, image_size=512))
    interaction = Interaction(error_points=1, local=1.0)
    rng = np.random.default_rng(0)
    backward_objects(rng, sam, embedding, ObjectMasks.from_labels(labels), interaction)
    assert embedding.grad is not None
    rows, cols = embedding.grad[0].abs().sum(0).nonzero().T
    assert rows.max() - rows.min() < 12
    assert cols.max() - cols.min() < 12
    assert rows.min() <= 400 // 16 <= rows.max()
    assert cols.min() <= 60 // 16 <= cols.max()


@pytest.mark.parametrize("box_share", [0.0, 1.0], ids=["click", "box"])
def test_training_shows_the_part_that_decoding_will_show(
    box_share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.zeros((512, 512), int)
    labels[300:340, 60:90] = 1
    labels[:, 200:] = 2  # goes on beyond any part
    torch.manual_seed(0)
    embedding = torch.randn(1, 32, 32, 32)
    sam = tiny_sam(dataclasses.replace(TINY, image_size=512, part_size=12, refine_dim=4))
    seen: list[dict[str, torch.Tensor]] = []
    attend = sam.mask_decoder._attend

    def watched(*inputs: Any) -> Any:
        seen.append({"parts": inputs[0], "pe": inputs[1], "sparse": inputs[2]})
        return attend(*inputs)

    monkeypatch.setattr(sam.mask_decoder, "_attend", watched)
    interaction = Interaction(error_points=0, local=1.0, box_share=box_share)
    objects = ObjectMasks.from_labels(labels)
    backward_objects(np.random.default_rng(0), sam, embedding, objects, interaction)
    trained = {len(one["parts"][0, 0]): one for one in seen}
    middle = sam.prompt_encoder.get_dense_pe()[..., 10:22, 10:22]
    if box_share:  # the large one's box does not fit: it is seen whole
        assert set(trained) == {12, 32}
    else:
        assert set(trained) == {12}
        assert len(trained[12]["parts"]) == 2
    assert torch.equal(trained[12]["pe"], middle)
    seen.clear()
    if box_share:
        decode(sam, embedding, boxes=torch.tensor([[60.0, 300.0, 89.0, 339.0]]))
        torch.testing.assert_close(seen[0]["parts"], trained[12]["parts"])
        # A hand draws its box a little off.
        torch.testing.assert_close(seen[0]["sparse"], trained[12]["sparse"], atol=0.5, rtol=0)
    assert not torch.equal(trained[12]["parts"][0], embedding[0, :, :12, :12])


def test_recomputing_activations_changes_nothing() -> None:
    plain, recomputed = trainer(drop_path=0.3), trainer(drop_path=0.3, checkpointing=True)
    assert plain.step() == recomputed.step()


def test_samples_do_not_depend_on_the_number_of_workers() -> None:
    def first(workers: int, start: int) -> list[np.ndarray]:
        feed = Feed(Scenes(), tiny_config(workers=workers), 128)
        batches = sample_batches(feed, start)
        return [sample.image for _ in range(2) for sample in next(batches)]

    for a, b in zip(first(0, 3), first(1, 3), strict=True):
        np.testing.assert_array_equal(a, b)


def test_processes_see_different_samples() -> None:
    feed = Feed(Scenes(), tiny_config(), 128)
    one, two = (next(sample_batches(feed, 0, rank, 2)) for rank in (0, 1))
    alone = sample_batches(feed, 0)
    for sample, expected in zip([*one, *two], [*next(alone), *next(alone)], strict=True):
        np.testing.assert_array_equal(sample.image, expected.image)


def test_a_loss_that_is_no_number_names_the_images_and_changes_nothing() -> None:
    run = trainer()
    run.step()
    with torch.no_grad():
        run.sam.mask_decoder.iou_token.weight.fill_(torch.nan)
    before = copy.deepcopy(run.optimizer.master)
    with pytest.raises(NotFinite, match=r"step 2 .*scene \d.*lower learning rate") as caught:
        run.step()
    assert len(caught.value.samples) == 2
    assert all(torch.equal(v, run.optimizer.master[n]) for n, v in before.items())


def test_windows_need_an_encoder_without_absolute_positions() -> None:
    with pytest.raises(ValueError, match="whole frames only"):
        Trainer(tiny_sam(TINY_VIT), Scenes(), tiny_config(window=64))
    with pytest.raises(ValueError, match="multiple of 16 and at most 128, not 200"):
        trainer(window=200)


def test_the_last_steps_see_whole_frames() -> None:
    feed = Feed(Scenes(), tiny_config(window=64, batch=2, steps=100), 128)
    assert feed.side(0) == feed.side(97) == 64
    assert feed.side(98) == 128


@pytest.mark.parametrize("ranks", [1, 3])
def test_all_samples_of_a_step_are_as_large_in_every_process(ranks: int) -> None:
    config = tiny_config(window=64, batch=2, accumulate=2, steps=50)
    feed = Feed(Scenes(), config, 128, ranks=ranks)
    for rank in range(ranks):
        for step in (48, 49):  # before the last 2 %, and among them
            batches = sample_batches(feed, 2 * step, rank, ranks)
            samples = [*next(batches), *next(batches)]
            largest = [max(sample.image.shape) for sample in samples]
            assert all((side > 64) == (feed.side(step) == 128) for side in largest)


def test_no_visible_object_is_said() -> None:
    class Empty:
        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: int) -> Picture:
            labels = np.zeros((64, 64), int)
            image = np.zeros((64, 64, 3), np.uint8)
            return Picture("bare.png", image, ObjectMasks.from_labels(labels))

    with pytest.raises(ValueError, match=r"No object was visible.*bare\.png"):
        Trainer(tiny_sam(), Empty(), tiny_config()).step()


def test_small_steps_are_not_lost_in_bfloat16() -> None:
    parameter = torch.nn.Parameter(torch.ones(4))
    config = TrainingConfig(lr=1e-4, warmup=0, schedule="step", weight_decay=0.0, steps=10**6)
    optimizer = Optimizer({"w": parameter}, config, {})
    parameter.data = parameter.data.bfloat16()
    for step in range(100):
        parameter.grad = torch.ones_like(parameter)
        optimizer.step(step)
    # Each step is far below bfloat16's resolution of 1/256 at 1; together they are not.
    assert optimizer.master["w"].mean().item() == pytest.approx(0.99, abs=1e-4)
    assert parameter.mean().item() == pytest.approx(0.99, abs=4e-3)


def test_lower_layers_learn_more_slowly() -> None:
    low, high = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))
    config = TrainingConfig(lr=0.1, warmup=0, layer_decay=0.5, weight_decay=0.0)
    optimizer = Optimizer({"low": low, "high": high}, config, {"low": 0, "high": 2})
    low.grad, high.grad = torch.ones(1), torch.ones(1)
    optimizer.step(0)
    assert low.item() == pytest.approx(0.25 * high.item())


def test_the_average_follows_the_weights() -> None:
    run = trainer(ema=0.9)
    for _ in range(3):
        run.step()
    name, master = next(iter(run.optimizer.master.items()))
    average = run.optimizer.average[name]
    assert not torch.equal(master, average)
    with run.averaged() as sam:
        assert torch.equal(dict(sam.named_parameters())[name], average)
    assert torch.equal(dict(run.sam.named_parameters())[name], master)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"stpes": 5}, "did you mean 'steps'"),
        ({"lr": "fast"}, "lr must be a number"),
        ({"steps": 2.5}, "steps must be a whole number"),
        ({"method": "prompt"}, "one of full, decoder, lora"),
        ({"ema": 1.0}, "never learn"),
        ({"augmentation": {"flip": True}}, "did you mean 'flips'"),
        ({"start": "random", "method": "lora"}, "needs method: full"),
    ],
)
def test_settings_that_make_no_sense_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainingConfig.from_dict(values)


def test_settings_survive_a_file() -> None:
    config = tiny_config(window=64, lora_targets=("encoder.qkv",))
    assert TrainingConfig.from_dict(config.to_dict()) == config
    assert TrainingConfig.from_dict({"lr": "1e-4"}).lr == 1e-4  # text in YAML


def test_two_processes_average_their_gradients_and_stay_alike(tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    here = Path(__file__).parent
    script.write_text(
        f"import sys; sys.path[:0] = [{str(here)!r}, {str(here.parents[1])!r}]\n"
        "import torch\n"
        "from src_model.training.distributed import average_gradients, join_processes\n"
        "from src_model.training.distributed import process_rank\n"
        "from src_model.training.trainer import Trainer\n"
        "from training_toys import Scenes, tiny_config, tiny_sam\n"
        "torch.set_num_threads(1)\n"
        "join_processes()\n"
        "run = Trainer(tiny_sam(), Scenes(), tiny_config(batch=1))\n"
        "for _ in range(2):\n"
        "    run.step()\n"
        "rank, ranks = process_rank()\n"
        "assert ranks == 2\n"
        "seen, unseen = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(3))\n"
        "seen.grad = torch.full((2,), float(rank + 1))\n"
        "if rank: unseen.grad = torch.ones(3)\n"
        "average_gradients([seen, unseen], 2)\n"
        "assert seen.grad.tolist() == [1.5, 1.5] and unseen.grad.tolist() == [0.5] * 3\n"
        f"torch.save(run.optimizer.master, {str(tmp_path)!r} + f'/{{rank}}.pt')\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", str(script)],
        capture_output=True,
        text=True,
        env={"OMP_NUM_THREADS": "1", "PATH": "", "HOME": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    states = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    start = dict(tiny_sam().named_parameters())
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name
    assert any(not torch.equal(v, start[n]) for n, v in states[0].items())
