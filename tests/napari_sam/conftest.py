"""What several tests of `napari_sam` need."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from napari_sam.tiles.geometry import TileId
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


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Start a server like Amazon's S3 with an empty bucket, and return the bucket's URL."""
    s3fs = pytest.importorskip(
        "s3fs", reason="s3fs is not installed: pip install 'napari-sam-tiled[cloud]'"
    )
    moto_server = pytest.importorskip(
        "moto.server", reason="moto is not installed: pip install 'napari-sam-tiled[test]'"
    )
    server = moto_server.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in [
        ("AWS_ENDPOINT_URL", f"http://{host}:{port}"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_MAX_ATTEMPTS", "1"),
    ]:
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()  # the last server had another port
    files = s3fs.S3FileSystem()
    files.makedirs("bucket", exist_ok=True)
    for path in files.ls("bucket"):  # moto remembers it from the last test
        files.rm(path, recursive=True)
    yield "s3://bucket"
    server.stop()


@pytest.fixture
def sees(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that makes the network see these labels, and counts tiles.

    What it sees needs no embeddings, which are made only if asked for.
    """

    from everything_scenes import perfect

    from napari_sam.segment.everything import running
    from napari_sam.tiles.embeddings import Embeddings

    def seeing(labels: np.ndarray, encoded: bool = False) -> list[TileId]:
        clicked: list[TileId] = []
        click = perfect(labels)

        def ready(embeddings: Embeddings, tile: TileId) -> Any:
            return SimpleNamespace(tile=tile, window=embeddings.store.geometry.window(tile))

        if not encoded:
            monkeypatch.setattr(Embeddings, "at", ready)

        def counted(ready: Any, *given: Any) -> Any:
            clicked.append(ready.tile)
            return click(ready, *given)

        monkeypatch.setattr(running, "click_tile", counted)
        return clicked

    return seeing
