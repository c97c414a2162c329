"""`napari-sam encode`, `info` and `verify` with a store in a bucket."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_sam.cli import main
from napari_sam.tiles.store import EmbeddingStore

ROOT = Path(__file__).parents[2]


@pytest.fixture
def encode(tmp_path: Path, tiny_weights: Path) -> list[str]:
    image = tmp_path / "image.npy"
    np.save(image, np.random.default_rng(1).integers(0, 999, (90, 100), dtype=np.uint16))
    return ["encode", str(image), "--model", str(tiny_weights), "-o"]


def refused(capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    capsys.readouterr()
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("napari-sam: ")
    assert (err.count("\n"), err[-2:]) == (1, ".\n")
    assert words in err


def test_encode_info_verify_repair(
    bucket: str, encode: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    import s3fs

    where = f"{bucket}/some/store"
    assert main([*encode, where, "--dry-run"]) == 0
    assert s3fs.S3FileSystem(use_listings_cache=False).ls("bucket") == []
    assert main([*encode, where, "--levels", "0"]) == 0
    refused(capsys, [*encode, where], "--resume")
    assert main([*encode, where, "--resume"]) == 0
    assert main(["info", where]) == 0
    assert f"in {where}" in capsys.readouterr().out
    assert EmbeddingStore.open(where).progress().missing == 0

    files = s3fs.S3FileSystem(use_listings_cache=False)
    path = "bucket/some/store/level_0/c.0.1.0.0.0"
    whole = files.cat_file(path)
    files.pipe_file(path, whole[:-9] + bytes(9))
    repair = ["--repair", encode[1], "--model", encode[3]]
    assert main(["verify", where, *repair]) == 0
    out = capsys.readouterr().out
    assert "1 damaged" in out
    assert "1 encoded again" in out
    assert files.cat_file(path) == whole
    assert main(["verify", where]) == 0
    assert "0 damaged" in capsys.readouterr().out


def test_no_bucket(bucket: str, encode: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, [*encode, "s3://nobodys/store"], "s3://nobodys/store")
    refused(capsys, ["info", "s3://nobodys/store"], "s3://nobodys/store")
    refused(capsys, ["verify", "s3://nobodys/store"], "s3://nobodys/store")
    refused(capsys, ["info", f"{bucket}/nothing"], "no store of embeddings")


def test_a_server_that_is_down(
    bucket: str,
    encode: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import s3fs

    assert main([*encode, f"{bucket}/there", "--levels", "1"]) == 0
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    s3fs.S3FileSystem.clear_instance_cache()
    for arguments in (
        [*encode, f"{bucket}/store"],
        [*encode, f"{bucket}/there", "--resume"],
        ["info", f"{bucket}/there"],
        ["verify", f"{bucket}/there", "--repair", encode[1]],
    ):
        refused(capsys, arguments, "127.0.0.1:9")


def test_wrong_credentials(
    bucket: str,
    encode: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import moto.settings

    assert main([*encode, f"{bucket}/there", "--levels", "1"]) == 0
    # From now on the server, a thread of this process, refuses keys that it did not give out.
    monkeypatch.setattr(moto.settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0)
    for arguments in (
        [*encode, f"{bucket}/store"],
        [*encode, f"{bucket}/there", "--resume"],
        ["info", f"{bucket}/there"],
        ["verify", f"{bucket}/there", "--repair", encode[1]],
    ):
        refused(capsys, arguments, "s3://bucket/")


def test_nothing_else_is_printed(bucket: str, encode: list[str]) -> None:
    environment = {**os.environ, "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-m", "napari_sam.cli", "info", f"{bucket}/there"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.count("\n") == 1
