"""Downloading one file over HTTP so that it can be interrupted and resumed.

The bytes are gathered in a ``.part`` file beside the place where the whole file belongs, so an
interrupted download goes on where it stopped, and a file under its final name is always whole and
of the right hash.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import CheckpointError

OnBytes = Callable[[int, int | None], object]
"""Told of the bytes that are there and of how many the file has, where known."""

CHUNK_BYTES = 1 << 16
TRIES = 5


def fetch(
    url: str,
    path: Path,
    known_hash: str,
    size: int | None,
    timeout: float,
    progress: bool,
    on_bytes: OnBytes | None = None,
) -> None:
    """Download `url` to `path`, checking size and hash; leave nothing half-done under that name.

    Several processes may call this for the same `path` at once: one downloads, the others wait for
    it and find the file there.

    Parameters
    ----------
    url : str
        An http or https address.
    path : Path
        Where the file belongs. Its folder is created.
    known_hash : str
        ``"sha256:..."`` or ``"xxh128:..."``.
    size : int or None
        Number of bytes expected, where known.
    timeout : float
        Seconds the server may stay silent, while connecting or in the middle of the file.
    progress : bool
        Whether to draw a progress bar on the terminal.
    on_bytes : callable, optional
        Called for every piece that arrives. What it raises ends the download, whose beginning is
        kept.

    Raises
    ------
    CheckpointError
        If the server cannot be reached, answers with an error, stays silent, stops early, or sends
        a file of another size or hash; or if `path` cannot be written.
    """
    import filelock
    import pooch

    part = path.with_name(path.name + ".part")
    downloader = _Resuming(part, path.name, size, timeout, progress, on_bytes)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(path.with_name(path.name + ".lock")):
            for last in (False, True):
                downloader.resumed = False
                try:
                    pooch.retrieve(
                        url, known_hash, fname=path.name, path=path.parent, downloader=downloader
                    )
                    return
                except ValueError as error:
                    if isinstance(error, CheckpointError):
                        raise
                    # pooch has thrown the file away. A beginning left by another edition of the
                    # file spoils an honest rest, so a resumed download gets one clean restart.
                    if last or not downloader.resumed:
                        raise CheckpointError(
                            f"What {url} sent for {path.name} is not the published file (its "
                            f"{known_hash.partition(':')[0]} differs from {known_hash}), so it was "
                            f"thrown away: try again later, or place the right file as {path}."
                        ) from error
    except OSError as error:
        raise CheckpointError(
            f"{path} could not be written ({error.strerror or error}): free some space, or choose "
            f"another folder with the environment variable NAPARI_SAM_CACHE."
        ) from error


def is_whole(path: Path, known_hash: str, size: int | None) -> bool:
    """Tell whether the file at `path` has the known size and hash.

    Parameters
    ----------
    path : Path
        An existing file.
    known_hash : str
        ``"sha256:..."`` or ``"xxh128:..."``.
    size : int or None
        Number of bytes expected, where known; compared first because it costs nothing.

    Returns
    -------
    bool
        Whether both are equal.

    Examples
    --------
    >>> import hashlib, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "weights.pth"
    >>> size = path.write_bytes(b"weights")
    >>> is_whole(path, "sha256:" + hashlib.sha256(b"weights").hexdigest(), size)
    True
    >>> is_whole(path, "sha256:" + hashlib.sha256(b"others.").hexdigest(), size)
    False
    """
    if size is not None and path.stat().st_size != size:
        return False
    import pooch

    algorithm, _, expected = known_hash.partition(":")
    return pooch.file_hash(str(path), alg=algorithm) == expected


class _Resuming:
    """A pooch downloader that keeps what it has in `part` and asks the server for the rest."""

    def __init__(
        self,
        part: Path,
        name: str,
        size: int | None,
        timeout: float,
        progress: bool,
        on_bytes: OnBytes | None,
    ) -> None:
        self.part = part
        self.name = name
        self.size = size
        self.timeout = timeout
        self.progress = progress
        self.on_bytes = on_bytes
        self.resumed = False

    def __call__(
        self, url: str, output_file: str, pooch: object = None, check_only: bool = False
    ) -> None:
        """Fill `part` from `url`, then move it to `output_file`, where pooch checks it."""
        for attempt in range(1, TRIES + 1):
            before = self._have()
            problem, whole = self._request(url)
            if whole:
                os.replace(self.part, output_file)
                return
            if attempt == TRIES or self._have() <= before:
                break  # trying again helps only while every try brings something new
        kept = self._have()
        raise CheckpointError(
            f"{self.name} could not be downloaded from {url} ({problem})"
            + (
                f"; the first {kept:,} bytes are kept and the next try goes on from there"
                if kept
                else ""
            )
            + f": check the connection and try again, name another server in the environment "
            f"variable NAPARI_SAM_MIRROR, or place the file by hand as {self.part.with_suffix('')}."
        )

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _request(self, url: str, resume: bool = True) -> tuple[str, bool]:
        """Ask once for what is missing; return what went wrong, and whether `part` is whole now."""
        import requests

        offset = self._have() if resume else 0
        # "identity": a compressed transfer would make byte ranges and lengths mean something else.
        headers = {"Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        try:
            with requests.get(url, headers=headers, timeout=self.timeout, stream=True) as response:
                if response.status_code == 416 and offset:
                    self.resumed = _content_range(response)[1] == offset
                    return ("", True) if self.resumed else self._request(url, resume=False)
                if not response.ok:
                    return f"the server answered {response.status_code} {response.reason}", False
                start, total = _content_range(response)
                if response.status_code != 206:  # the whole file, whatever was asked for
                    length = response.headers.get("Content-Length")
                    start, total = 0, int(length) if length else None
                elif start is None or start != offset:
                    if offset:
                        return self._request(url, resume=False)
                    return (
                        "the server answered with a part of the file that nobody asked for",
                        False,
                    )
                if total is not None and self.size is not None and total != self.size:
                    return f"the server offers {total:,} bytes, the file has {self.size:,}", False
                self.resumed |= start > 0
                self._write(response, start, total)
        except requests.RequestException as error:
            return _reason(error, self.timeout), False
        expected = total if total is not None else self.size
        have = self._have()
        if expected is not None and have != expected:
            return f"the connection ended after {have:,} of {expected:,} bytes", False
        return "", True

    def _write(self, response: Any, start: int, total: int | None) -> None:
        """Append the body of `response` to `part` from byte `start` on, drawing the bar."""
        from tqdm import tqdm

        bar = tqdm(
            desc=self.name,
            initial=start,
            total=total or self.size,
            unit="B",
            unit_scale=True,
            disable=not self.progress,
        )
        have = start
        with bar, open(self.part, "ab" if start else "wb") as file:
            for chunk in response.iter_content(CHUNK_BYTES):
                file.write(chunk)
                bar.update(len(chunk))
                have += len(chunk)
                if self.on_bytes is not None:
                    self.on_bytes(have, total or self.size)


def _content_range(response: Any) -> tuple[int | None, int | None]:
    """Return (first byte, total bytes) from a ``Content-Range: bytes 5-9/10`` header."""
    span, _, total = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
    first = span.partition("-")[0]
    return int(first) if first.isdigit() else None, int(total) if total.isdigit() else None


def _reason(error: Exception, timeout: float) -> str:
    """Say in a few words why a request failed."""
    import requests
    from urllib3.exceptions import ReadTimeoutError

    # A silence in the middle of a body reaches us as a ConnectionError around the timeout.
    if isinstance(error, requests.Timeout) or any(
        isinstance(argument, ReadTimeoutError) for argument in error.args
    ):
        return f"the server sent nothing for {timeout:g} s"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection was cut in the middle of the file"
    if isinstance(error, requests.ConnectionError):
        return "the server could not be reached"
    return str(error)
