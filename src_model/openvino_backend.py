"""The image encoder through OpenVINO, which runs it faster on a CPU than PyTorch does.

The graph is exported from our module once, kept in the cache folder and compiled for this machine
at every start. The mask decoder stays in PyTorch: converted, it was no faster (20 ms against 18 ms
for a click, 0.56 s against 0.64 s for 64 at once, bfloat16 on two cores), and it would need a
graph for every number of prompts and points.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .checkpoints import cache_directory
from .image_encoder import Attention
from .sam import Sam

if TYPE_CHECKING:
    import openvino

__all__ = ["OpenVinoEncoder", "accelerate"]

# Graphs kept on disk, the least recently used go first: fine-tuning makes a new one every time.
_GRAPHS_KEPT = 4

# A graph in the cache is used only as long as these still say what they said when it was made.
_SOURCES = ("openvino_backend.py", "image_encoder.py", "tiny_vit.py", "layers.py")


def accelerate(sam: Sam) -> Sam:
    """Let OpenVINO run a model's image encoder, in bfloat16 where the CPU multiplies in it.

    The first call for given weights exports the encoder (some seconds, and a file of its size in
    the cache folder), later ones read what the first has left.

    Parameters
    ----------
    sam : Sam
        On the CPU, with float32 weights. ``sam.image_encoder`` is replaced by an
        :class:`OpenVinoEncoder`; parameters, keys and hash of the model stay what they were.
        Change the precision, if at all, after this call.

    Returns
    -------
    Sam
        The model given. Its encoder stays PyTorch's if OpenVINO cannot take it; a warning says
        why.

    Raises
    ------
    ImportError
        If OpenVINO is not installed.
    ValueError
        If the encoder is not on the CPU or not in float32.
    """
    try:
        import openvino
    except ImportError as error:
        raise ImportError(
            "precision='openvino' needs OpenVINO: install it with "
            '`pip install "napari-sam-tiled[openvino]"`.'
        ) from error
    from .loading import multiplies_bfloat16

    encoder = sam.image_encoder
    if isinstance(encoder, OpenVinoEncoder):
        return sam
    for name, parameter in encoder.named_parameters():
        if parameter.device.type != "cpu" or parameter.dtype != torch.float32:
            raise ValueError(
                f"OpenVINO takes encoders in float32 on the CPU, but {name} is {parameter.dtype} "
                f"on {str(parameter.device)!r}: load the model with device='cpu', "
                "precision='float32'."
            )
    precision = "bf16" if multiplies_bfloat16(sam.device) else "f32"
    try:
        request = _compile(openvino, sam, precision)
    except Exception as error:  # whatever torch.export and OpenVINO raise on an unusual variant
        reason = next(iter(str(error).strip().splitlines()), "")
        warnings.warn(
            f"OpenVINO cannot run the image encoder of {sam.variant.name!r} "
            f"({type(error).__name__}: {reason}); PyTorch runs it, only slower.",
            stacklevel=2,
        )
        return sam
    sam.add_module("image_encoder", OpenVinoEncoder(encoder, request))
    return sam


class OpenVinoEncoder(nn.Module):
    """An image encoder whose predictions OpenVINO computes.

    It shares parameters and submodules with the encoder it was made from, under the same names,
    and calls that encoder for what a compiled graph cannot do: gradients, training mode, other
    devices, and weights changed since. A copied or pickled one is the PyTorch encoder again,
    because a compiled graph belongs to its process.

    Parameters
    ----------
    encoder : nn.Module
        Maps (B, 3, img_size, img_size) to (B, C, h, w).
    request : openvino.InferRequest
        Does the same for B = 1.
    """

    def __init__(self, encoder: nn.Module, request: openvino.InferRequest) -> None:
        super().__init__()
        self._modules = encoder._modules
        self._parameters = encoder._parameters
        self._buffers = encoder._buffers
        self.training = encoder.training
        self.img_size: int = encoder.img_size  # type: ignore[assignment]
        # A tuple, so that it is not registered as a submodule with keys of its own.
        self._torch_encoder = (encoder,)
        self._request = request
        self._lock = threading.Lock()
        self._versions = self._weight_versions()

    def forward(self, x: Tensor) -> Tensor:
        """Encode frames: (B, 3, img_size, img_size) to float32 (B, C, h, w)."""
        expected = (3, self.img_size, self.img_size)
        if (
            self._needs_torch(x)
            or x.device.type != "cpu"
            or x.shape[1:] != expected
            or not len(x)
            or self._changed()
        ):
            encoder = self._torch_encoder[0]
            encoder.training = self.training
            return encoder(x)
        frames = x.detach().float().contiguous().numpy()
        embeddings = []
        with self._lock:
            for frame in frames:
                self._request.infer({0: frame[None]}, share_inputs=True)
                embeddings.append(np.array(self._request.get_output_tensor(0).data))
        return torch.from_numpy(np.concatenate(embeddings))

    def _needs_torch(self, x: Tensor) -> bool:
        """Tell whether this call is part of training."""
        return self.training or (
            torch.is_grad_enabled()
            and (x.requires_grad or any(p.requires_grad for p in self.parameters()))
        )

    def _changed(self) -> bool:
        """Tell whether a weight was written to since the graph was compiled, and warn if so."""
        if self._versions == self._weight_versions():
            return False
        warnings.warn(
            "The weights of the image encoder have changed since OpenVINO compiled it; PyTorch "
            "runs it, only slower. Save the model and load it again.",
            stacklevel=4,
        )
        return True

    def _weight_versions(self) -> list[int]:
        """Return how often each weight was written to; changing precision does not count."""
        tensors = [*self.parameters(), *self.buffers()]
        return [tensor._version for tensor in tensors if not tensor.is_inference()]

    def __reduce__(self) -> tuple[Any, ...]:
        return _same, self._torch_encoder


def _same(encoder: nn.Module) -> nn.Module:
    return encoder


def _compile(openvino: Any, sam: Sam, precision: str) -> openvino.InferRequest:
    """Compile the encoder's graph, from the cache or exported now."""
    core = openvino.Core()
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    folder = cache_directory() / "openvino" / _graph_key(sam)
    graph = folder / "encoder.xml"
    if graph.is_file():
        try:
            compiled = core.compile_model(graph, "CPU", settings)
            os.utime(folder)
            return compiled.create_infer_request()
        except (RuntimeError, OSError):  # damaged: make it anew
            shutil.rmtree(folder, ignore_errors=True)
    model = _export(openvino, sam)
    try:
        _save(openvino, model, folder)
    except (RuntimeError, OSError) as error:
        warnings.warn(
            f"The OpenVINO graph could not be kept in {folder} ({error}) and will be made again "
            "at the next start: set NAPARI_SAM_CACHE to a folder with room for it.",
            stacklevel=4,
        )
    return core.compile_model(model, "CPU", settings).create_infer_request()


def _graph_key(sam: Sam) -> str:
    """Return what the graph depends on as 32 digits: exact weights, dimensions, code, versions.

    One graph serves both precisions: OpenVINO chooses when it compiles. `model_hash` is not used
    because it rounds weights, and because a new decoder needs no new graph.
    """
    import openvino
    import xxhash

    dimensions = sam.variant.to_dict()
    del dimensions["name"]
    versions = [openvino.__version__, torch.__version__]
    digest = xxhash.xxh3_128(json.dumps([dimensions, versions], sort_keys=True).encode())
    for name in _SOURCES:
        digest.update(Path(__file__).with_name(name).read_bytes())
    for key, tensor in sam.image_encoder.state_dict().items():
        digest.update(key.encode())
        digest.update(tensor.detach().contiguous().numpy().data)
    return digest.hexdigest()


def _export(openvino: Any, sam: Sam) -> Any:
    """Convert the encoder for one frame; nothing is computed on the way, only shapes."""
    encoder, size = sam.image_encoder, sam.variant.image_size
    with torch.no_grad(), _graph_attention(encoder), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # what the two libraries say of each other
        program = torch.export.export(encoder, (torch.zeros(1, 3, size, size),))
        return openvino.convert_model(program)


@contextmanager
def _graph_attention(encoder: nn.Module) -> Iterator[None]:
    """Let all attention with relative positions be `_attend` meanwhile."""
    layers = [module for module in encoder.modules() if isinstance(module, Attention)]
    for layer in layers:
        layer.attend = partial(_attend, layer)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            del layer.attend


def _attend(layer: Attention, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend with the position bias folded into wider heads, as OpenVINO fuses it best.

    What `image_encoder` does in bfloat16, except that constants are never repeated for each
    window and head (they would be stored so), and that values stay as narrow as they are: with
    them as wide as the keys the whole encoder takes a third longer. All are (B, heads, N, d).
    """
    dim, size = q.shape[-1], layer.size
    rows = torch.arange(size)
    offsets = rows[:, None] - rows[None, :] + size - 1
    # Columns of zeros make the heads a multiple of 32 wide, which the matrix units take at once.
    padding = -(dim + 2 * size) % 32
    table_h = layer.rel_pos_h[offsets]
    table_w = F.pad(layer.rel_pos_w[offsets], (0, 0, 0, padding))
    grid = q.unflatten(2, (size, size))
    bias_h = torch.einsum("bnhwc,hkc->bnhwk", grid, table_h).flatten(2, 3)
    bias_w = torch.einsum("bnhwc,wkc->bnhwk", grid, table_w).flatten(2, 3)
    eye = torch.eye(size)
    position = torch.cat([eye.repeat_interleave(size, 0), eye.repeat(size, 1)], dim=1)
    q = torch.cat([q * dim**-0.5, bias_h, bias_w], dim=-1)
    k = F.pad(k, (0, 2 * size + padding)) + F.pad(position, (dim, padding))
    return F.scaled_dot_product_attention(q, k, v, scale=1.0)


def _save(openvino: Any, model: Any, folder: Path) -> None:
    """Keep a graph, in full or not at all, and drop those not used for longest."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=folder.parent))
    try:
        openvino.save_model(model, unfinished / "encoder.xml", compress_to_fp16=False)
        if not folder.exists():  # or another process was faster
            unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    graphs = [path.parent for path in folder.parent.glob("*/encoder.xml")]
    graphs.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for old in graphs[_GRAPHS_KEPT:]:
        shutil.rmtree(old, ignore_errors=True)
