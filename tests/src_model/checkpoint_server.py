"""A local HTTP server that publishes files the way real servers do on bad days."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType


@dataclass(frozen=True)
class Answer:
    """How the server answers one request.

    Attributes
    ----------
    status : int
        An error code to answer with, or 200 to send the file (206 for a byte range).
    stop_after : int or None
        Send only so many bytes of the body that was promised, then close the connection.
    stall : bool
        After `stop_after` bytes keep the connection open and say nothing, until the server is
        closed.
    lie : bool
        Send other bytes than the file's, as many of them.
    ranges : bool
        Honour ``Range`` headers; without it the whole file is sent whatever was asked for.
    shift : int
        Start so many bytes later than the requested range (a broken server).
    length : bool
        Announce the number of bytes.
    body : bytes or None
        Send this instead of the file.
    """

    status: int = 200
    stop_after: int | None = None
    stall: bool = False
    lie: bool = False
    ranges: bool = True
    shift: int = 0
    length: bool = True
    body: bytes | None = None


@dataclass(frozen=True)
class Request:
    """What was asked for: the path and the ``Range`` header, None where there was none."""

    path: str
    range: str | None


class CheckpointServer:
    """Publishes `files` at `url`, answering first as `answers` say and then well.

    Parameters
    ----------
    files : dict of str to bytes
        What is served, by name.
    answers : iterable of Answer
        One for each request to come, in order.
    """

    def __init__(self, files: dict[str, bytes], answers: Iterable[Answer] = ()) -> None:
        self.files = files
        self.answers = deque(answers)
        self.requests: list[Request] = []
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )

    def __enter__(self) -> CheckpointServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def _next_answer(self, request: Request) -> Answer:
        with self._lock:
            self.requests.append(request)
            return self.answers.popleft() if self.answers else Answer()

    def _handler(server) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = self.headers.get("Range")
                answer = server._next_answer(Request(self.path, asked))
                body = answer.body or server.files.get(self.path.lstrip("/"))
                if answer.status != 200 or body is None:
                    self.send_error(answer.status if answer.status != 200 else 404)
                    return
                total = len(body)
                start = 0
                if asked and answer.ranges:
                    start = int(asked.removeprefix("bytes=").rstrip("-")) + answer.shift
                    if start >= total:
                        self.send_response(416)
                        self.send_header("Content-Range", f"bytes */{total}")
                        self.send_header("Content-Length", "0")
                        self.end_headers()
                        return
                    self.send_response(206)
                    self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
                else:
                    self.send_response(200)
                body = body[start:]
                if answer.lie:
                    body = bytes(byte ^ 0xFF for byte in body)
                if answer.length:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: answer.stop_after])
                self.wfile.flush()
                if answer.stall:
                    server._closing.wait()
                self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler
