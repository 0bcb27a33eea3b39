"""A real web server on this machine, with the habits of good and bad ones."""

import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

CERTIFICATE = Path(__file__).with_name("shop.example.pem")  # of that host, with its key
BLOCK = 1024  # bytes, of a slow answer


@dataclass(frozen=True)
class Reply:
    """What the server answers.

    Attributes:
        body: the whole of it.
        status: of the answer; 206 instead of 200 where a part is asked for.
        headers: besides Content-Length, and those of ranges.
        ranges: whether a part can be asked for.
        cut: bytes of the answer after which the server hangs up; None for all.
        delay: seconds before the answer begins.
        pause: seconds after each block of ``BLOCK`` bytes.
        length: whether Content-Length is said; without, the end of the connection is the end.
    """

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    ranges: bool = True
    cut: int | None = None
    delay: float = 0
    pause: float = 0
    length: bool = True


@dataclass(frozen=True)
class Request:
    """What was asked for, with header names in lower case, and when (of time.monotonic)."""

    method: str
    path: str
    headers: Mapping[str, str]
    time: float


Replies = Mapping[str, Reply | Sequence[Reply]] | Callable[[str], Reply]


def redirect(to: str, status: int = 302) -> Reply:
    """A redirect to another path or URL."""
    return Reply(status=status, headers={"Location": to})


class Server(ThreadingHTTPServer):
    """Answers from a table or a function of the path, and keeps count.

    Attributes:
        replies: path -> the reply, or replies in turn, the last of which is repeated; or a function
            of the path. Other paths are answered with status 404. May be changed at any time.
        requests: all that were asked, in order.
        most_at_once: greatest number of answers in the making at one time.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, replies: Replies, certificate: Path | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)
            self.scheme = "https"
        self.replies = replies
        self.requests: list[Request] = []
        self.most_at_once = 0
        self._at_once = 0
        self._asked: Counter[str] = Counter()
        self._lock = threading.Lock()

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        """The address of a path."""
        return f"{self.scheme}://{host}:{self.server_port}{path}"

    def paths(self, method: str = "GET") -> list[str]:
        """What was asked for by a method, in order."""
        return [request.path for request in self.requests if request.method == method]

    def gaps(self) -> list[float]:
        """Seconds between one request and the next."""
        times = [request.time for request in self.requests]
        return [after - before for before, after in pairwise(times)]

    def begin(self, request: Request) -> Reply:
        """Note a request; the reply to it."""
        with self._lock:
            self.requests.append(request)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            turn = self._asked[request.path]
            self._asked[request.path] += 1
        if callable(self.replies):
            return self.replies(request.path)
        reply = self.replies.get(request.path, Reply(b"no such page", 404))
        return reply if isinstance(reply, Reply) else reply[min(turn, len(reply) - 1)]

    def end(self) -> None:
        """Note that an answer is complete."""
        with self._lock:
            self._at_once -= 1

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are no news."""


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or a body waits 40 ms behind its headers

    def do_GET(self) -> None:  # noqa: N802
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.server.begin(Request(self.command, self.path, headers, time.monotonic()))
        try:
            time.sleep(reply.delay)
            self._answer(reply, headers)
        finally:
            self.server.end()

    do_HEAD = do_GET

    def _answer(self, reply: Reply, asked: Mapping[str, str]) -> None:
        status, body, headers = reply.status, reply.body, dict(reply.headers)
        if reply.ranges and status == 200:
            headers["Accept-Ranges"] = "bytes"
            same = (None, headers.get("ETag"), headers.get("Last-Modified"))
            if "range" in asked and asked.get("if-range") in same:
                start = int(asked["range"].removeprefix("bytes=").removesuffix("-"))
                status = 206 if start < len(body) else 416
                last = len(body) - 1
                headers["Content-Range"] = f"bytes {start}-{last}/{len(body)}"
                body = body[start:]
        self.send_response(status)
        if reply.length:
            headers["Content-Length"] = str(len(body))
        else:
            self.close_connection = True
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        sent = body[: reply.cut]
        step = BLOCK if reply.pause else max(len(sent), 1)
        for start in range(0, len(sent), step):
            self.wfile.write(sent[start : start + step])
            time.sleep(reply.pause)
        if len(sent) < len(body):
            self.close_connection = True

    def log_message(self, *words: object) -> None:
        """Nothing on stderr."""


@contextmanager
def serving(replies: Replies, certificate: Path | None = None) -> Iterator[Server]:
    """A server for as long as the block lasts; with a certificate and its key, one of https."""
    with Server(replies, certificate) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def closed_port() -> int:
    """A port of this machine where nobody listens."""
    with Server({}) as server:
        return server.server_port
