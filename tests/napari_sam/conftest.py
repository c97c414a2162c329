"""What several tests of `napari_sam` need."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from src_model import Sam, Variant, build_sam
from src_model.weight_files import save_checkpoint


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """Let torch use one thread: several that wait for each other are slow on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tiny_sam() -> Sam:
    """A network too small to be good for anything, with seeded random weights."""
    torch.manual_seed(0)
    return build_sam(
        Variant(
            image_size=64,
            depth=2,
            embed_dim=32,
            num_heads=2,
            out_chans=32,
            global_attn_indexes=(1,),
        )
    )


@pytest.fixture(scope="session")
def tiny_weights(tiny_sam: Sam, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the weights of `tiny_sam`."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_checkpoint(tiny_sam, path)
    return path
