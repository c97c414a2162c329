"""Rasters as GDAL writes them, and a server of files that knows ranges and can fall silent."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np


def write_raster(
    path: Path, pixels: np.ndarray, *, overviews: tuple[int, ...] = (), **how: Any
) -> None:
    """Write bands (band, row, col) with rasterio."""
    import rasterio

    how = {"driver": "GTiff", "crs": "EPSG:32633", **how}
    descriptions = how.pop("descriptions", None)
    how.setdefault("transform", rasterio.Affine(2, 0, 500_000, 0, -2, 4_000_000))
    count, rows, cols = pixels.shape
    with rasterio.open(
        path, "w", height=rows, width=cols, count=count, dtype=pixels.dtype, **how
    ) as dataset:
        dataset.write(pixels)
        if descriptions is not None:
            dataset.descriptions = descriptions
    if overviews:
        with rasterio.open(path, "r+") as dataset:
            dataset.build_overviews(overviews, rasterio.enums.Resampling.average)


class _Files(BaseHTTPRequestHandler):
    """Serves a folder; parts of files too."""

    folder: Path
    silent = False

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        with (self.folder / "asked.txt").open("a") as log:
            log.write(f"{self.path}\n")
        if self.silent:
            time.sleep(60)
            return
        path = self.folder / self.path.lstrip("/").partition("?")[0]
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        size = len(content)
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if found is None:
            self.send_response(200)
        else:
            stop = min(int(found[2] or size - 1), size - 1)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {found[1]}-{stop}/{size}")
            content = content[int(found[1]) : stop + 1]
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(folder: Path, *, silent: bool = False) -> Iterator[str]:
    """Serve a folder over HTTP, and write what is asked for into ``asked.txt`` in it.

    By a process of its own: where rasterio waits for a server it may hold Python's lock.
    """
    command = [sys.executable, __file__, str(folder), "silent" if silent else "speaking"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


if __name__ == "__main__":
    _Files.folder, _Files.silent = Path(sys.argv[1]), sys.argv[2] == "silent"
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Files)
    print(server.server_port, flush=True)
    server.serve_forever()
