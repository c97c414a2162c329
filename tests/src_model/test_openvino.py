"""The image encoder through OpenVINO says what PyTorch's says, and gives way where it cannot."""

from __future__ import annotations

import builtins
import copy
import pickle
import threading
from pathlib import Path

import pytest
import torch
from test_loading import TINY, TINY_TINY_VIT

from src_model import (
    VARIANTS,
    Sam,
    SamPredictor,
    Variant,
    build_sam,
    load_model,
    loading,
    openvino_backend,
)
from src_model.openvino_backend import OpenVinoEncoder, accelerate
from src_model.weight_files import model_hash, save_checkpoint

openvino = pytest.importorskip("openvino", reason="the extra [openvino] is not installed")


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for all tests here, because making a graph takes a second."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _use_shared_cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAPARI_SAM_CACHE", str(shared_cache))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _use_shared_cache: None) -> Path:
    """Return the folder of graphs, empty at first, of a test that looks into it."""
    monkeypatch.setenv("NAPARI_SAM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "openvino"


@pytest.fixture(scope="module")
def graph() -> object:
    """Return the graph of `network()`, exported once for tests of what becomes of graphs."""
    return openvino_backend._export(openvino, network())


@pytest.fixture
def exported(graph: object, monkeypatch: pytest.MonkeyPatch) -> list[Sam]:
    """Let every export give that graph; return the models it was asked for."""
    asked: list[Sam] = []

    def export(_: object, sam: Sam) -> object:
        asked.append(sam)
        return graph

    monkeypatch.setattr(openvino_backend, "_export", export)
    return asked


def network(variant: Variant = TINY, seed: int = 0) -> Sam:
    """Return a network with random weights, its relative positions large enough to matter."""
    torch.manual_seed(seed)
    sam = build_sam(variant)
    with torch.no_grad():
        for name, parameter in sam.named_parameters():
            if "rel_pos" in name or "attention_biases" in name or name.endswith("pos_embed"):
                parameter.normal_(0, 0.5)
    return sam


def frames(sam: Sam, count: int = 1) -> torch.Tensor:
    """Return random frames, always the same."""
    size = sam.variant.image_size
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(5))


def float32_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the processor look like one without bfloat16."""
    monkeypatch.setattr("src_model.loading.multiplies_bfloat16", lambda device: False)


@torch.no_grad()
def compare(sam: Sam, count: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Return PyTorch's and OpenVINO's embeddings of some frames."""
    expected = sam.image_encoder(frames(sam, count))
    return expected, accelerate(sam).image_encoder(frames(sam, count))


@pytest.mark.parametrize("variant", [TINY, TINY_TINY_VIT], ids=lambda v: v.name)
def test_float32_is_exact(variant: Variant, monkeypatch: pytest.MonkeyPatch) -> None:
    float32_only(monkeypatch)
    expected, found = compare(network(variant), count=2)
    assert found.dtype == torch.float32
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 1e-3 * expected.abs().max()


@pytest.mark.parametrize("variant", [TINY, TINY_TINY_VIT], ids=lambda v: v.name)
def test_the_machines_own_precision_is_close(variant: Variant) -> None:
    pair = torch.stack([embedding.flatten() for embedding in compare(network(variant))])
    assert torch.corrcoef(pair)[0, 1] > 0.999


def test_golden_embedding(shared: Path) -> None:
    import json

    import numpy as np
    from safetensors.torch import load_file
    from skimage import io

    folder = next((shared / "golden").glob("tiny_*/"))
    meta = json.loads((folder / "meta.json").read_text())
    sam = build_sam(Variant(**meta["config"]))
    sam.load_state_dict(load_file(shared / "golden" / "tiny_weights.safetensors"))
    outputs = np.load(folder / "outputs.npz")
    predictor = SamPredictor(accelerate(sam))
    predictor.set_image(io.imread(folder / "image.png")[..., :3])
    embedding = predictor.get_image_embedding().numpy().ravel()
    assert np.corrcoef(embedding, outputs["embedding"].ravel())[0, 1] > 0.999


def test_keys_parameters_and_hash_stay() -> None:
    sam = network()
    before = model_hash(sam), list(sam.state_dict()), [id(p) for p in sam.parameters()]
    accelerate(sam)
    assert isinstance(sam.image_encoder, OpenVinoEncoder)
    assert before == (model_hash(sam), list(sam.state_dict()), [id(p) for p in sam.parameters()])
    assert sam.image_encoder.img_size == TINY.image_size
    sam.set_precision(torch.bfloat16)
    assert model_hash(sam) == before[0]
    assert sam.image_encoder.pos_embed.dtype == torch.bfloat16


def test_changing_precision_afterwards_does_not_stop_it(recwarn: pytest.WarningsRecorder) -> None:
    sam = accelerate(network())
    with torch.no_grad():
        before = sam.image_encoder(frames(sam))
        sam.set_precision(torch.bfloat16)
        sam.image_encoder.to(memory_format=torch.channels_last)
        assert torch.equal(before, sam.image_encoder(frames(sam)))
    assert not [w for w in recwarn if "have changed" in str(w.message)]


def test_second_start_reads_the_cache(cache: Path, exported: list[Sam]) -> None:
    expected = compare(network())[1]
    sam = accelerate(network())
    with torch.no_grad():
        assert torch.equal(expected, sam.image_encoder(frames(sam)))
    assert len(exported) == 1
    assert len(list(cache.iterdir())) == 1


def test_a_damaged_cache_is_made_anew(cache: Path, exported: list[Sam]) -> None:
    expected = compare(network())[1]
    for file in cache.glob("*/*"):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    sam = accelerate(network())
    with torch.no_grad():
        assert torch.equal(expected, sam.image_encoder(frames(sam)))
    assert len(exported) == 2
    accelerate(network())
    assert len(exported) == 2


def test_other_weights_get_their_own_graph(cache: Path, exported: list[Sam]) -> None:
    accelerate(network())
    sam = network()
    with torch.no_grad():  # a change that rounding to bfloat16 would hide
        sam.image_encoder.neck[1].weight[0] += 1e-6
    assert model_hash(sam) == model_hash(network())
    accelerate(sam)
    assert len(exported) == len(list(cache.iterdir())) == 2


def test_other_decoders_share_a_graph(cache: Path, exported: list[Sam]) -> None:
    accelerate(network())
    sam = network()
    with torch.no_grad():
        sam.mask_decoder.iou_token.weight += 1
    accelerate(sam)
    assert len(exported) == len(list(cache.iterdir())) == 1


def test_graphs_not_used_for_longest_go(
    cache: Path, exported: list[Sam], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino_backend, "_GRAPHS_KEPT", 2)
    for seed in (0, 1, 0, 2, 0):
        accelerate(network(seed=seed))
    assert len(exported) == 3
    assert len(list(cache.iterdir())) == 2


def test_a_cache_that_cannot_be_written_to_is_no_obstacle(cache: Path, exported: list[Sam]) -> None:
    cache.parent.mkdir()
    cache.write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match="could not be kept in .* set NAPARI_SAM_CACHE"):
        sam = accelerate(network())
    assert isinstance(sam.image_encoder, OpenVinoEncoder)


def test_gradients_and_training_use_pytorch() -> None:
    sam = accelerate(network())
    sam.image_encoder(frames(sam)).sum().backward()
    assert sam.image_encoder.pos_embed.grad is not None
    frame = frames(sam).requires_grad_()
    sam.requires_grad_(False)
    sam.image_encoder(frame).sum().backward()
    assert frame.grad is not None
    sam.train()
    assert sam.image_encoder._torch_encoder[0].neck.training


def test_changed_weights_count() -> None:
    sam = accelerate(network())
    with torch.no_grad():
        sam.image_encoder.neck[3].bias += 1
        with pytest.warns(UserWarning, match="weights of the image encoder have changed"):
            found = sam.image_encoder(frames(sam))
        assert torch.equal(found, copy.deepcopy(sam).image_encoder(frames(sam)))


def test_copies_and_pickles_are_pytorch_again() -> None:
    sam = accelerate(network())
    for other in (copy.deepcopy(sam), pickle.loads(pickle.dumps(sam))):
        assert type(other.image_encoder) is type(network().image_encoder)
        assert model_hash(other) == model_hash(sam)


def test_threads_may_share_it() -> None:
    sam = accelerate(network())
    batch = frames(sam, 4)
    with torch.no_grad():
        expected = sam.image_encoder(batch)
    found: dict[int, torch.Tensor] = {}

    def encode(i: int) -> None:
        with torch.no_grad():
            found[i] = sam.image_encoder(batch[i : i + 1])[0]

    threads = [threading.Thread(target=encode, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torch.equal(expected, torch.stack([found[i] for i in range(4)]))


def test_what_openvino_cannot_take_runs_in_pytorch(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("no such operation\nat line 7")

    monkeypatch.setattr(openvino_backend, "_export", refuse)
    sam = network()
    encoder = sam.image_encoder
    with pytest.warns(UserWarning, match=r"cannot run .* 'tiny' \(RuntimeError: no such operation"):
        accelerate(sam)
    assert sam.image_encoder is encoder


def test_half_precision_is_refused() -> None:
    with pytest.raises(ValueError, match=r"takes encoders in float32 .* torch.bfloat16 on 'cpu'"):
        accelerate(network().set_precision(torch.bfloat16))


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    importing = builtins.__import__

    def without_openvino(name: str, *args: object, **kwargs: object) -> object:
        if name.startswith("openvino"):
            raise ImportError(name)
        return importing(name, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without_openvino)
    with pytest.raises(ImportError, match=r"napari-sam-tiled\[openvino\]"):
        accelerate(network())


def test_load_model_uses_it(tmp_path: Path) -> None:
    save_checkpoint(network(), tmp_path / "tiny.safetensors")
    sam = load_model(tmp_path / "tiny.safetensors", device="cpu", precision="openvino")
    assert isinstance(sam.image_encoder, OpenVinoEncoder)
    assert model_hash(sam) == model_hash(network())


@pytest.mark.parametrize("more", [0, 1])
def test_auto_takes_it_for_large_encoders(
    more: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small ones do not win back what its start costs."""
    parameters = sum(p.numel() for p in network().image_encoder.parameters())
    monkeypatch.setattr(loading, "_OPENVINO_PARAMETERS", parameters + more)
    save_checkpoint(network(), tmp_path / "tiny.safetensors")
    sam = load_model(tmp_path / "tiny.safetensors", device="cpu", precision="auto")
    assert isinstance(sam.image_encoder, OpenVinoEncoder) == (more == 0)


@pytest.mark.parametrize("name", VARIANTS)
def test_which_variants_are_large(name: str) -> None:
    with torch.device("meta"):
        sam = build_sam(name)
    taken = loading._best_precision(sam, torch.device("cpu")) == "openvino"
    assert taken == (name in ("vit_b", "vit_l", "vit_h"))
