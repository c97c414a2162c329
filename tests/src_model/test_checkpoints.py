"""The table of checkpoints and the download, against a server that stalls, truncates and lies."""

import hashlib
import multiprocessing
import re
from dataclasses import replace
from pathlib import Path

import pytest
import xxhash
from checkpoint_server import Answer, CheckpointServer
from sentences import one_sentence

from src_model import checkpoints
from src_model.checkpoints import (
    CHECKPOINTS,
    cache_directory,
    checkpoint_path,
    download,
    list_checkpoints,
)
from src_model.errors import CheckpointError
from src_model.variants import VARIANTS

BODY = bytes(range(256)) * 1200  # about 300 kB: several chunks
FILE = CHECKPOINTS["vit_b_lm"].file_name


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Make an empty cache folder, and `vit_b_lm` mean a file of `BODY`."""
    monkeypatch.setenv("NAPARI_SAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("NAPARI_SAM_OFFLINE", raising=False)
    row = replace(CHECKPOINTS["vit_b_lm"], hash=f"xxh128:{xxhash.xxh128(BODY).hexdigest()}")
    monkeypatch.setitem(checkpoints.CHECKPOINTS, "vit_b_lm", row)
    return tmp_path / "cache"


@pytest.fixture
def serve(monkeypatch):
    """Start a server with the answers given, as the mirror to download from."""
    servers = []

    def start(*answers, files=None):
        server = CheckpointServer({FILE: BODY} if files is None else files, answers).__enter__()
        servers.append(server)
        monkeypatch.setenv("NAPARI_SAM_MIRROR", server.url + "/")
        return server

    yield start
    for server in servers:
        server.__exit__(None, None, None)


def fetch(timeout=5.0):
    return download("vit_b_lm", progress=False, timeout=timeout)


def leftovers(cache):
    """Names in the cache folder, but for the lock file."""
    return {path.name for path in cache.iterdir() if path.suffix != ".lock"}


def test_table_is_complete_and_well_formed():
    assert next(iter(CHECKPOINTS)) == "vit_nano"
    assert set(VARIANTS) <= set(CHECKPOINTS)
    assert len({row.file_name for row in CHECKPOINTS.values()}) == len(CHECKPOINTS)
    for name, row in CHECKPOINTS.items():
        assert name == row.name
        assert row.variant in VARIANTS
        if row.url is not None:
            assert re.fullmatch(r"sha256:[0-9a-f]{64}|xxh128:[0-9a-f]{32}", row.hash)
            assert row.url.startswith("https://")


def test_table_agrees_with_the_published_facts(shared):
    text = (shared / "CHECKPOINTS.md").read_text()
    rows = re.findall(r"^\| (vit_\w+)[^|]*\| (\S+)[^|]*\| (sha256|xxh128) (\w+) \|", text, re.M)
    assert len(rows) == 10
    for name, url, algorithm, digest in rows:
        assert CHECKPOINTS[name].url == url
        assert CHECKPOINTS[name].hash == f"{algorithm}:{digest}"
        if CHECKPOINTS[name].size is not None:
            assert f"{CHECKPOINTS[name].size:,} bytes" in text


def test_cache_directory_is_the_systems_unless_named(monkeypatch):
    monkeypatch.delenv("NAPARI_SAM_CACHE", raising=False)
    assert cache_directory().name == "napari-sam"
    monkeypatch.setenv("NAPARI_SAM_CACHE", "~/weights")
    assert cache_directory() == Path.home() / "weights"


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(CheckpointError) as error:
        checkpoint_path("vit_x")
    assert "'vit_x'" in one_sentence(error)
    assert all(name in str(error.value) for name in CHECKPOINTS)


def test_download_once(cache, serve):
    server = serve()
    path = fetch()
    assert path == cache / FILE == checkpoint_path("vit_b_lm")
    assert path.read_bytes() == BODY
    assert fetch() == path
    assert [request.path for request in server.requests] == [f"/{FILE}"]
    assert leftovers(cache) == {FILE}


def test_progress_bar_names_the_file(cache, serve, capsys):
    serve()
    download("vit_b_lm", progress=True)
    shown = capsys.readouterr().err
    assert FILE in shown
    assert "100%" in shown


def test_who_is_told_of_bytes_may_end_it_and_the_next_download_goes_on(cache, serve):
    class Enough(Exception):
        pass

    told = []

    def tell(have, total):
        told.append((have, total))
        if have >= 100_000:
            raise Enough

    server = serve()
    with pytest.raises(Enough):
        download("vit_b_lm", progress=False, on_bytes=tell)
    assert {total for _, total in told} == {len(BODY)}
    kept = (cache / (FILE + ".part")).stat().st_size
    assert kept == told[-1][0] < len(BODY)
    assert fetch().read_bytes() == BODY
    assert server.requests[-1].range == f"bytes={kept}-"


def test_list_says_what_is_on_disk(cache, serve):
    cache.mkdir()
    (cache / (FILE + ".part")).write_bytes(BODY[:1000])
    serve()
    status = {row.checkpoint.name: row for row in list_checkpoints()}
    assert list(status) == list(CHECKPOINTS)
    assert status["vit_b_lm"].path == cache / FILE
    assert (status["vit_b_lm"].bytes_on_disk, status["vit_b_lm"].bytes_partial) == (0, 1000)
    fetch()
    status = {row.checkpoint.name: row for row in list_checkpoints()}
    assert (status["vit_b_lm"].bytes_on_disk, status["vit_b_lm"].bytes_partial) == (len(BODY), 0)
    assert status["vit_h"].bytes_on_disk == 0


def test_sha256_and_size_are_checked(cache, serve, monkeypatch):
    digest = hashlib.sha256(BODY).hexdigest()
    row = replace(CHECKPOINTS["vit_b_lm"], hash=f"sha256:{digest}", size=len(BODY))
    monkeypatch.setitem(checkpoints.CHECKPOINTS, "vit_b_lm", row)
    server = serve(Answer(body=b"<html>please log in</html>"))
    with pytest.raises(CheckpointError) as error:
        fetch()
    assert "offers 26 bytes, the file has 307,200" in one_sentence(error)
    assert len(server.requests) == 1
    assert leftovers(cache) == set()
    assert fetch().read_bytes() == BODY


def test_stalled_server_times_out_and_the_next_try_resumes(cache, serve):
    server = serve(Answer(stop_after=200_000, stall=True), Answer(stop_after=0, stall=True))
    with pytest.raises(CheckpointError) as error:
        fetch(timeout=0.5)
    assert "sent nothing for 0.5 s" in one_sentence(error)
    assert FILE in str(error.value)
    assert leftovers(cache) == {FILE + ".part"}
    kept = (cache / (FILE + ".part")).stat().st_size
    assert 0 < kept <= 200_000
    assert f"{kept:,} bytes are kept" in str(error.value)
    assert fetch().read_bytes() == BODY
    assert server.requests[-1].range == f"bytes={kept}-"
    assert leftovers(cache) == {FILE}


def test_server_that_never_speaks(cache, serve):
    server = serve(Answer(stop_after=0, stall=True))
    with pytest.raises(CheckpointError, match=r"sent nothing for 0\.5 s"):
        fetch(timeout=0.5)
    assert len(server.requests) == 1


def test_truncated_transfers_are_resumed_at_once(cache, serve):
    cut = Answer(stop_after=100_000)
    server = serve(cut, cut, cut)
    assert fetch().read_bytes() == BODY
    assert len(server.requests) >= 3
    assert all(request.range for request in server.requests[1:])


def test_server_that_always_truncates_gives_up(cache, serve):
    server = serve(*[Answer(stop_after=70_000, ranges=False)] * 20)
    with pytest.raises(CheckpointError) as error:
        fetch()
    message = one_sentence(error)
    assert "cut in the middle" in message or "connection ended after" in message
    assert len(server.requests) < 20
    assert leftovers(cache) == {FILE + ".part"}


def test_truncation_without_announced_length_is_caught_by_the_hash(cache, serve):
    serve(Answer(stop_after=100_000, length=False))
    with pytest.raises(CheckpointError, match="is not the published file"):
        fetch()
    assert leftovers(cache) == set()


def test_wrong_bytes_of_the_right_length_are_thrown_away(cache, serve):
    serve(Answer(lie=True))
    with pytest.raises(CheckpointError) as error:
        fetch()
    message = one_sentence(error)
    assert "is not the published file" in message
    assert str(cache / FILE) in message
    assert leftovers(cache) == set()
    assert fetch().read_bytes() == BODY


def test_server_that_lies_again_and_again_is_given_up(cache, serve):
    server = serve(*[Answer(lie=True, stop_after=150_000)] * 20)
    with pytest.raises(CheckpointError, match="is not the published file"):
        fetch()
    assert len(server.requests) < 20
    assert leftovers(cache) == set()


@pytest.mark.parametrize(("status", "words"), [(404, "404 Not Found"), (500, "500 Internal")])
def test_error_codes(cache, serve, status, words):
    serve(Answer(status=status))
    with pytest.raises(CheckpointError) as error:
        fetch()
    assert words in one_sentence(error)
    assert leftovers(cache) == set()


def test_server_that_is_not_there(cache, monkeypatch):
    with CheckpointServer({}) as server:
        monkeypatch.setenv("NAPARI_SAM_MIRROR", server.url)
    with pytest.raises(CheckpointError) as error:
        fetch()
    assert "could not be reached" in one_sentence(error)
    assert str(cache / FILE) in str(error.value)


def test_mirror_that_is_no_address(cache, monkeypatch):
    monkeypatch.setenv("NAPARI_SAM_MIRROR", "not-a-url")
    with pytest.raises(CheckpointError, match="not-a-url/vit_b_lm"):
        fetch()


def test_server_without_ranges_starts_again(cache, serve):
    server = serve(Answer(stop_after=100_000), Answer(ranges=False))
    assert fetch().read_bytes() == BODY
    assert len(server.requests) == 2


def test_server_with_wrong_ranges_starts_again(cache, serve):
    cache.mkdir()
    (cache / (FILE + ".part")).write_bytes(BODY[:5000])
    server = serve(Answer(shift=7))
    assert fetch().read_bytes() == BODY
    assert [request.range for request in server.requests] == ["bytes=5000-", None]


def test_part_of_another_edition_starts_again(cache, serve):
    cache.mkdir()
    (cache / (FILE + ".part")).write_bytes(b"x" * 5000)
    server = serve()
    assert fetch().read_bytes() == BODY
    assert [request.range for request in server.requests] == ["bytes=5000-", None]


@pytest.mark.parametrize("part", [BODY, BODY + b"too long"])
def test_part_as_long_as_the_file_or_longer(cache, serve, part):
    cache.mkdir()
    (cache / (FILE + ".part")).write_bytes(part)
    serve()
    assert fetch().read_bytes() == BODY
    assert leftovers(cache) == {FILE}


def test_offline_says_which_file_to_place_where(cache, serve, monkeypatch):
    server = serve()
    monkeypatch.setenv("NAPARI_SAM_OFFLINE", "1")
    with pytest.raises(CheckpointError) as error:
        fetch()
    message = one_sentence(error)
    row = CHECKPOINTS["vit_b_lm"]
    assert all(words in message for words in (str(cache / FILE), row.url, row.hash, "is not there"))
    assert server.requests == []
    cache.mkdir()
    (cache / FILE).write_bytes(BODY[:-1])
    with pytest.raises(CheckpointError, match="is not the published file"):
        fetch()
    (cache / FILE).write_bytes(BODY)
    assert fetch() == cache / FILE
    assert server.requests == []
    monkeypatch.setenv("NAPARI_SAM_OFFLINE", "0")
    (cache / FILE).unlink()
    assert fetch().read_bytes() == BODY


def test_tampered_file_is_downloaded_again(cache, serve):
    serve()
    cache.mkdir()
    (cache / FILE).write_bytes(b"!" + BODY[1:])
    with pytest.warns(UserWarning, match="is downloaded again"):
        path = fetch()
    assert path.read_bytes() == BODY


def test_tampered_file_stays_while_the_server_fails(cache, serve):
    serve(Answer(status=500))
    cache.mkdir()
    (cache / FILE).write_bytes(b"!" + BODY[1:])
    with (
        pytest.warns(UserWarning, match="is downloaded again"),
        pytest.raises(CheckpointError, match="answered 500"),
    ):
        fetch()


def test_cache_folder_that_cannot_be_made(cache, serve):
    serve()
    cache.write_text("a file where the folder should be")
    with pytest.raises(CheckpointError) as error:
        fetch()
    assert "NAPARI_SAM_CACHE" in one_sentence(error)


def test_bundled_file_needs_no_network(monkeypatch):
    monkeypatch.setenv("NAPARI_SAM_OFFLINE", "1")
    assert checkpoint_path("vit_nano").parts[-2:] == ("weights", "vit_nano.safetensors")
    assert download("vit_nano") == checkpoint_path("vit_nano")


def _download_from_process(results, row):
    checkpoints.CHECKPOINTS["vit_b_lm"] = row
    results.put(fetch(timeout=20.0).read_bytes() == BODY)


def test_two_processes_share_one_download(cache, serve):
    server = serve(Answer(stop_after=100_000))
    spawn = multiprocessing.get_context("spawn")
    results = spawn.Queue()
    row = CHECKPOINTS["vit_b_lm"]
    processes = [
        spawn.Process(target=_download_from_process, args=(results, row)) for _ in range(2)
    ]
    for process in processes:
        process.start()
    assert [results.get(timeout=60) for _ in processes] == [True, True]
    for process in processes:
        process.join()
    assert leftovers(cache) == {FILE}
    assert len(server.requests) == 2  # the cut one and its rest; the other process only waited
