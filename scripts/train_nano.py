"""Train the small default model further on nuclei and generated scenes.

    python scripts/train_nano.py --nuclei DIR/nuclei/train --minutes 38 --initial last.pt -o run

Steps take four windows of 512 px of the 1024 px frame, at a random place of it, every fourth step
one whole frame. The run stops by itself after the given minutes, is saved every hundred steps, and
goes on where it was when the same command is given again. The weights to ship are then written by

    python scripts/train_nano.py -o runs/nano --export src_model/weights/vit_nano.safetensors
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from skimage import data, io
from torch import Tensor, nn
from torch.nn import functional as F

from src_model.checkpoints import save_checkpoint
from src_model.sam import Sam, build_sam
from src_model.training.losses import best_mask_loss
from src_model.training.scenes import generate_scene
from src_model.transformer import CrossAttention
from src_model.variants import VARIANTS

PICTURES = (
    "astronaut",
    "brick",
    "camera",
    "chelsea",
    "coffee",
    "grass",
    "gravel",
    "hubble_deep_field",
    "moon",
    "rocket",
)
OBJECTS = 16  # prompted per image
FRAME = 1024


# --- data -------------------------------------------------------------------------------------


def load_nuclei(folder: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (image (H, W, 3) uint8, labels (H, W)) of every pair in the folder."""
    pairs = []
    for path in sorted((folder / "images").glob("*.png")):
        image = io.imread(path)
        image = np.stack([image] * 3, -1) if image.ndim == 2 else image[..., :3]
        pairs.append((image, io.imread(folder / "labels" / path.name).astype(np.int32)))
    return pairs


def resize(array: np.ndarray, size: tuple[int, int], mode: str) -> np.ndarray:
    """Resize (H, W) or (H, W, 3) to ``size``; "area" averages where it shrinks."""
    tensor = torch.from_numpy(np.ascontiguousarray(array)).float()
    tensor = tensor.permute(2, 0, 1)[None] if array.ndim == 3 else tensor[None, None]
    options = {} if mode == "nearest" else {"align_corners": False, "antialias": True}
    out = F.interpolate(tensor, size, mode=mode, **options)[0]
    return (out.permute(1, 2, 0) if array.ndim == 3 else out[0]).numpy()


def nuclei_window(
    rng: np.random.Generator, image: np.ndarray, labels: np.ndarray, zoom: float, side: int
) -> tuple[np.ndarray, np.ndarray]:
    """Cut what a window of ``side`` pixels shows of the image brought to a frame of FRAME."""
    height, width = labels.shape
    scale = FRAME * zoom / max(height, width)
    need = side / scale
    h, w = int(min(height, np.ceil(need))), int(min(width, np.ceil(need)))
    rows, cols = np.nonzero(labels)
    if len(rows):
        k = rng.integers(len(rows))
        cy, cx = rows[k], cols[k]
    else:
        cy, cx = rng.integers(height), rng.integers(width)
    top = int(np.clip(cy - rng.uniform(0.1, 0.9) * h, 0, height - h))
    left = int(np.clip(cx - rng.uniform(0.1, 0.9) * w, 0, width - w))
    size = (min(side, round(h * scale)), min(side, round(w * scale)))
    image = resize(image[top : top + h, left : left + w], size, "bilinear")
    labels = resize(labels[top : top + h, left : left + w], size, "nearest").astype(np.int32)
    return image, labels


def augment(
    rng: np.random.Generator, image: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Turn, flip, and change brightness, contrast, colour and sharpness."""
    turns = int(rng.integers(4))
    image, labels = np.rot90(image, turns), np.rot90(labels, turns)
    if rng.random() < 0.5:
        image, labels = image[:, ::-1], labels[:, ::-1]
    image = image.astype(np.float32)
    if rng.random() < 0.05:
        image = 255 - image
    if rng.random() < 0.08:
        image = image[..., rng.permutation(3)]
    image = image * rng.uniform(0.75, 1.25) + rng.uniform(-15, 15)
    image = image * (1 + rng.normal(0, 0.05, 3)) + rng.normal(0, 3, 3)
    image = 255 * (np.clip(image, 0, 255) / 255) ** np.exp(rng.normal(0, 0.25))
    if rng.random() < 0.2:
        image = ndimage.gaussian_filter(image, (rng.uniform(0.3, 2), rng.uniform(0.3, 2), 0))
    image = image + rng.normal(0, rng.uniform(0, 4), image.shape)
    return np.clip(image, 0, 255), labels


def dense_targets(labels: np.ndarray) -> np.ndarray:
    """Return foreground, border, distance to it and offsets to the centre, (5, h, w)."""
    small = labels[2::4, 2::4]
    border = np.zeros(small.shape, bool)
    border[:-1] |= small[:-1] != small[1:]
    border[:, :-1] |= small[:, :-1] != small[:, 1:]
    border |= np.roll(border, 1, 0) | np.roll(border, 1, 1)
    distance = ndimage.distance_transform_edt((small > 0) & ~border)
    objects = ndimage.find_objects(small)
    maps = np.zeros((5, *small.shape), np.float32)
    maps[0], maps[1] = small > 0, border & (small > 0)
    for label, window in enumerate(objects, start=1):
        if window is None:
            continue
        inside = small[window] == label
        rows, cols = np.nonzero(inside)
        reach = 0.5 * math.sqrt(len(rows)) + 1
        maps[2][window][inside] = np.minimum(distance[window][inside] / reach, 1.5)
        maps[3][window][inside] = (rows - rows.mean()) / reach
        maps[4][window][inside] = (cols - cols.mean()) / reach
    return maps


def inner_point(rng: np.random.Generator, mask: np.ndarray) -> tuple[float, float]:
    """Return (x, y) inside the mask: its deepest point or any."""
    if rng.random() < 0.5:
        depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
        candidates = np.argwhere(depth >= 0.98 * depth.max())
    else:
        candidates = np.argwhere(mask)
    row, col = candidates[rng.integers(len(candidates))]
    return float(col), float(row)


def prompts(rng: np.random.Generator, labels: np.ndarray) -> dict[str, np.ndarray] | None:
    """Choose up to OBJECTS objects with a point, a noisy box and a mask each."""
    windows = ndimage.find_objects(labels)
    area = np.bincount(labels.ravel(), minlength=len(windows) + 1)
    usable = [i for i in range(1, len(windows) + 1) if area[i] >= 64]
    if not usable:
        return None
    chosen = rng.choice(usable, OBJECTS, replace=len(usable) < OBJECTS)
    points, boxes, masks = [], [], []
    for label in chosen:
        rows, cols = windows[label - 1]
        inside = labels[rows, cols] == label
        x, y = inner_point(rng, inside)
        points.append((cols.start + x, rows.start + y))
        box = np.array([cols.start, rows.start, cols.stop - 1, rows.stop - 1], float)
        side = np.array([cols.stop - cols.start, rows.stop - rows.start] * 2)
        boxes.append(box + np.clip(rng.normal(0, 0.1, 4) * side, -20, 20))
        mask = np.zeros(labels.shape, np.float32)
        mask[rows, cols] = inside
        masks.append(mask.reshape(len(mask) // 4, 4, -1, 4).mean((1, 3)))
    return {
        "points": np.array(points, np.float32),
        "boxes": np.array(boxes, np.float32),
        "masks": np.stack(masks),
    }


class Samples(torch.utils.data.IterableDataset):
    """An endless stream of frames with prompts and truth."""

    def __init__(self, nuclei: Path, frame: int, zoom_steps: int, start: int) -> None:
        self.nuclei, self.frame, self.zoom_steps, self.start = nuclei, frame, zoom_steps, start

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        torch.set_num_threads(1)
        pairs = load_nuclei(self.nuclei)
        pictures = [getattr(data, name)() for name in PICTURES]
        pictures = [p if p.ndim == 3 else np.stack([p] * 3, -1) for p in pictures]
        rng = np.random.default_rng(self.start + 1)
        index = self.start
        while True:
            whole = (index // 4) % 4 == 3
            side = FRAME if whole else FRAME // 2
            real = rng.random() < 0.8
            if real:
                zoom = 1.0
                if not whole and rng.random() < 0.5:
                    zoom = np.exp(rng.uniform(-0.25, 0.5))
                pair = pairs[rng.integers(len(pairs))]
                image, labels = nuclei_window(rng, *pair, zoom, side)
            else:
                image, labels = generate_scene(rng, side, pictures, object_size=(0.06, 0.6))
            image, labels = augment(rng, image, labels)
            pad = ((0, side - labels.shape[0]), (0, side - labels.shape[1]))
            labels = np.pad(labels, pad)
            sample = prompts(rng, labels)
            if sample is None:
                continue
            height, width = image.shape[:2]
            sample["image"] = image.astype(np.float32)
            sample["image"] = np.pad(sample["image"], (*pad, (0, 0)))
            sample["size"] = np.array([height, width])
            sample["dense"] = dense_targets(labels)
            sample["offset"] = np.zeros(2, int) if whole else rng.integers(0, 33, 2)
            sample["real"] = np.array(real)
            index += 1
            yield sample
            if whole:
                index += 3


# --- training ---------------------------------------------------------------------------------


class DenseHead(nn.Module):
    """Auxiliary head: what every pixel belongs to, so that the encoder learns from all of them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 5 * 16, 1)

    def forward(self, embedding: Tensor) -> Tensor:
        """Map (B, C, h, w) to (B, 5, 4 h, 4 w)."""
        return F.pixel_shuffle(self.conv(embedding), 4)


def dense_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy on foreground and border, squared error on distance and offsets inside."""
    entropy = F.binary_cross_entropy_with_logits(predicted[:, :2], target[:, :2])
    inside = target[:, :1]
    error = ((predicted[:, 2:] - target[:, 2:]) ** 2 * inside).sum() / (inside.sum() + 1)
    return entropy + 0.3 * error


def error_point(rng: np.random.Generator, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Draw a point from the error region of each mask: (B, 1, 2) in the frame, labels (B, 1)."""
    wrong = (logits > 0) != (target > 0.5)
    points, labels = [], []
    for error, truth in zip(wrong.numpy(), target.numpy(), strict=True):
        candidates = np.argwhere(error)
        if not len(candidates):
            candidates = np.argwhere(truth > 0.5) if (truth > 0.5).any() else np.argwhere(~error)
        row, col = candidates[rng.integers(len(candidates))]
        points.append([[4 * col + 1.5, 4 * row + 1.5]])
        labels.append([int(truth[row, col] > 0.5)])
    return torch.tensor(points), torch.tensor(labels)


def image_loss(
    rng: np.random.Generator, sam: Sam, embedding: Tensor, sample: dict[str, Tensor]
) -> tuple[Tensor, dict[str, float]]:
    """Loss of one image's prompts: points or boxes, and now and then corrections."""
    h, w = embedding.shape[2:]
    row, col = sample["offset"].tolist()
    shift = torch.tensor([16.0 * col, 16.0 * row])

    def decode(
        points: tuple[Tensor, Tensor] | None, boxes: Tensor | None, masks: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        if points is not None:
            points = (points[0] + shift, points[1])
        if boxes is not None:
            boxes = boxes + shift.repeat(2)
        sparse, dense = sam.prompt_encoder(points, boxes, masks)
        return sam.mask_decoder.predict_masks(embedding, image_pe, sparse, dense[..., :h, :w])

    image_pe = sam.prompt_encoder.get_dense_pe()[..., row : row + h, col : col + w]
    target = sample["masks"]
    by_box = rng.random() < 0.5
    points, boxes = (sample["points"][:, None], torch.ones(len(target), 1)), sample["boxes"]
    logits, predicted = decode(None, boxes, None) if by_box else decode(points, None, None)
    loss, iou = best_mask_loss(logits[:, 1:], predicted[:, 1:], target)
    figures = {"box of three" if by_box else "click": float(iou.max(1).values.mean())}
    if by_box:  # says enough for the single mask too
        single, iou = best_mask_loss(logits[:, :1], predicted[:, :1], target)
        loss = loss + single
        figures["box"] = float(iou.mean())
    rounds = int(rng.choice([0, 1, 2, 3], p=[0.4, 0.25, 0.2, 0.15]))
    given, labels = (None, None) if by_box else points
    for r in range(rounds):
        best = torch.zeros(len(logits), dtype=torch.long)
        if r == 0:
            best = predicted[:, 1:].argmax(1) + 1
        previous = logits[torch.arange(len(logits)), best].detach()
        more, kinds = error_point(rng, previous, target)
        given = more if given is None else torch.cat([given, more], 1)
        labels = kinds if labels is None else torch.cat([labels, kinds], 1)
        logits, predicted = decode(
            (given, labels), boxes if by_box else None, previous[:, None].clamp(-20, 20)
        )
        second, iou = best_mask_loss(logits[:, :1], predicted[:, :1], target)
        loss = loss + second
        if r == rounds - 1:
            third, _ = best_mask_loss(logits[:, 1:], predicted[:, 1:], target)
            loss = loss + third
        figures[f"corrected {r + 1}"] = float(iou.mean())
    tag = "" if bool(sample["real"]) else "scene "
    return loss, {tag + k: v for k, v in figures.items()}


def attend_to_positions(sam: Sam) -> None:
    """Start with cross-attention that looks where the prompt is.

    Keys and queries begin with the same projection, so their product is the similarity of
    positions. From independent random projections the decoder takes hundreds of steps to notice
    the prompt.
    """
    with torch.no_grad():
        for embedding in sam.prompt_encoder.point_embeddings:
            embedding.weight.mul_(0.1)
        sam.prompt_encoder.no_mask_embed.weight.mul_(0.1)
        for module in sam.mask_decoder.modules():
            if isinstance(module, CrossAttention):
                module.q_proj.weight.mul_(2.5)
                module.k_proj.weight.copy_(module.q_proj.weight)


class Trainer:
    """Model in bfloat16 with float32 master weights, their moving average, and the optimiser."""

    def __init__(self, lr: float, frame: int, initial: Path | None) -> None:
        torch.manual_seed(0)
        self.sam = build_sam(dataclasses.replace(VARIANTS["vit_nano"], image_size=frame)).train()
        attend_to_positions(self.sam)
        self.head = DenseHead(self.sam.variant.out_chans)
        self.modules = nn.ModuleDict({"sam": self.sam, "head": self.head})
        if initial is not None:
            self.modules.load_state_dict(torch.load(initial, weights_only=True)["average"])
            # Few large frames a step say too little of the statistics: keep those there are.
            self.sam.image_encoder.eval()
        self.master = {k: p.detach().clone() for k, p in self.modules.named_parameters()}
        self.average = {k: v.clone() for k, v in self.modules.state_dict().items()}
        decay = [p for p in self.master.values() if p.ndim > 1]
        plain = [p for p in self.master.values() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": decay, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}],
            lr=lr,
            betas=(0.9, 0.999),
        )
        self.step_count, self.elapsed = 0, 0.0
        self.sam.set_precision(torch.bfloat16)
        self.sam.image_encoder.to(memory_format=torch.channels_last)

    def step(self, lr: float) -> None:
        """Apply the gradients to the master weights and copy these into the model."""
        parameters = dict(self.modules.named_parameters())
        for name, master in self.master.items():
            gradient = parameters[name].grad
            master.grad = None if gradient is None else gradient.float()
        nn.utils.clip_grad_norm_(self.master.values(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self.modules.zero_grad()
        self.step_count += 1
        keep = min(0.998, self.step_count / (self.step_count + 10))
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(self.master[name])
            for name, value in self.modules.state_dict().items():
                source = self.master.get(name, value)
                if source.is_floating_point():
                    self.average[name].lerp_(source.float(), 1 - keep)
                else:
                    self.average[name].copy_(source)

    def save(self, path: Path) -> None:
        """Write everything needed to go on, atomically."""
        state = {
            "master": self.master,
            "average": self.average,
            "buffers": dict(self.modules.named_buffers()),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step_count,
            "elapsed": self.elapsed,
        }
        torch.save(state, path.with_suffix(".tmp"))
        os.replace(path.with_suffix(".tmp"), path)

    def load(self, path: Path) -> None:
        """Go on from a saved state."""
        state = torch.load(path, weights_only=True)
        with torch.no_grad():
            for name, master in self.master.items():
                master.copy_(state["master"][name])
            for name, parameter in self.modules.named_parameters():
                parameter.copy_(self.master[name])
            for name, buffer in self.modules.named_buffers():
                buffer.copy_(state["buffers"][name])
        self.average = state["average"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.step_count, self.elapsed = state["step"], state["elapsed"]


def learning_rate(peak: float, step: int, progress: float) -> float:
    """Warm up over 200 steps, then follow a cosine over the time there is."""
    return peak * min(1.0, step / 60) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))


def train(args: argparse.Namespace) -> None:
    """Train until the minutes are over."""
    args.output.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(args.lr, args.frame, args.initial)
    checkpoint = args.output / "last.pt"
    if checkpoint.exists():
        trainer.load(checkpoint)
        print(f"going on at step {trainer.step_count}", flush=True)
    samples = Samples(args.nuclei, FRAME, 0, start=trainer.step_count * 4)
    loader = iter(torch.utils.data.DataLoader(samples, None, num_workers=1, prefetch_factor=12))
    rng = np.random.default_rng(trainer.step_count)
    sam, head = trainer.sam, trainer.head
    figures: dict[str, list[float]] = {}
    while trainer.elapsed < args.minutes * 60:
        began = time.perf_counter()
        first = next(loader)
        count = 1 if len(first["image"]) == FRAME else 4
        every = [first] + [next(loader) for _ in range(count - 1)]
        batch = {k: torch.stack([torch.as_tensor(e[k]) for e in every]) for k in first}
        pixels = batch["image"].permute(0, 3, 1, 2)
        frames = (pixels - sam.pixel_mean) / sam.pixel_std
        for frame, (height, width) in zip(frames, batch["size"].tolist(), strict=True):
            frame[:, height:], frame[:, :, width:] = 0, 0  # padding comes after normalisation
        embedding = sam.image_encoder(frames.contiguous(memory_format=torch.channels_last))
        # Decoding image by image on a detached embedding keeps one image's graph in memory.
        detached = embedding.detach().requires_grad_()
        for i in range(count):
            sample = {k: batch[k][i] for k in ("points", "boxes", "masks", "offset", "real")}
            loss, got = image_loss(rng, sam, detached[i : i + 1], sample)
            (loss / count).backward()
            for key, value in {**got, "loss": loss.item()}.items():
                figures.setdefault(key, []).append(value)
        auxiliary = dense_loss(head(embedding), batch["dense"])
        progress = trainer.elapsed / (args.minutes * 60)
        torch.autograd.backward(
            [embedding, auxiliary * (1.0 - 0.8 * progress)], [detached.grad, None]
        )
        figures.setdefault("dense", []).append(auxiliary.item())
        if not math.isfinite(figures["loss"][-1]):
            raise SystemExit(f"the loss is not finite at step {trainer.step_count}")
        trainer.step(learning_rate(args.lr, trainer.step_count, progress))
        trainer.elapsed += min(5.0, time.perf_counter() - began)  # a paused machine is no training
        if trainer.step_count % 50 == 0:
            line = {k: round(float(np.mean(v)), 4) for k, v in figures.items()}
            line |= {"step": trainer.step_count, "minutes": round(trainer.elapsed / 60, 2)}
            with (args.output / "log.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
            figures.clear()
        if trainer.step_count % 100 == 0:
            trainer.save(checkpoint)
    trainer.save(checkpoint)


def export(run: Path, path: Path) -> None:
    """Write the averaged weights of a run in half precision."""
    state = torch.load(run / "last.pt", weights_only=True)["average"]
    sam = build_sam("vit_nano")
    sam.load_state_dict({k.removeprefix("sam."): v for k, v in state.items() if k[:4] == "sam."})
    path.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(sam, path, dtype=torch.float16)


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nuclei", type=Path, help="folder with images/ and labels/")
    parser.add_argument("--minutes", type=float, default=90)
    parser.add_argument("--frame", type=int, default=512, help="side of the frame in pixels")
    parser.add_argument(
        "--initial", type=Path, help="last.pt of a run to begin with the weights of"
    )
    parser.add_argument("--images", type=int, default=4, help="images a step")
    parser.add_argument("--lr", type=float, default=8e-4)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--export", type=Path, help="write the run's weights here and stop")
    args = parser.parse_args()
    if args.export:
        export(args.output, args.export)
    else:
        train(args)


if __name__ == "__main__":
    main()
