"""Requests to hosts of the open web: in turn, bounded, and with a reason where they fail."""

import asyncio
import socket
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import httpcore
import httpx

from dataset_builders.public_network import PrivateAddress, PublicNetwork
from dataset_builders.transfers import HEADERS, REDIRECTS, may_pass, pause_before_retry
from recbole_missrec.picture_files import MOST_PIXELS

GIVE_UP = 20  # tries in a row at a host that has not answered once
REDIRECT = {301, 302, 303, 307, 308}
REASONS: tuple[tuple[type[Exception], str], ...] = (
    (httpx.InvalidURL, "not an address"),
    (UnicodeError, "not an address"),  # of names that DNS cannot hold
    (OverflowError, "not an address"),  # of ports above 65535
    (PrivateAddress, "private address"),
    (socket.gaierror, "no such host"),
    (httpcore.ConnectError, "no connection"),
    (httpcore.ConnectTimeout, "no connection"),
    (TimeoutError, "time-out"),
    (httpcore.NetworkError, "broken off"),
    (httpcore.ProtocolError, "broken off"),
)
SILENCE = {"no such host", "no connection"}
PASSING = SILENCE | {"time-out", "broken off"}


@dataclass(frozen=True)
class Limits:
    """What a download of pictures may take.

    Attributes:
        timeout: seconds for one request, from the look-up of the host to the last byte.
        retries: tries after the first.
        back_off: seconds before the second try, doubled before each further one.
        longest_wait: seconds before a try, also where a server asks for more.
        concurrent: requests at once.
        per_host: requests at once to one host.
        rate: requests a second to one host.
        max_bytes: of one picture.
        max_pixels: of one picture.
        private_addresses: whether hosts of the own network and this machine may be asked.
    """

    timeout: float = 20.0
    retries: int = 3
    back_off: float = 1.0
    longest_wait: float = 60.0
    concurrent: int = 32
    per_host: int = 8
    rate: float = 20.0
    max_bytes: int = 10_000_000
    max_pixels: int = MOST_PIXELS
    private_addresses: bool = False


class Failure(Exception):
    """A request without a result; the text is the reason that is counted.

    Attributes:
        again: whether it may help to ask again at once.
        retry_after: what the server says of that.
    """

    def __init__(self, reason: str, again: bool = False, retry_after: str = "") -> None:
        super().__init__(reason)
        self.again = again
        self.retry_after = retry_after


def passes(reason: str) -> bool:
    """Whether a request on another day, or from another network, may not fail for this reason."""
    if reason.isdecimal():
        return may_pass(int(reason)) or reason in ("401", "403")  # of this network, or for now
    return reason in PASSING or reason == "private address"


def host_name(address: str) -> str:
    """The host of an address; empty where there is none."""
    try:
        return httpx.URL(address).host
    except (httpx.InvalidURL, UnicodeError):  # the latter of names that DNS cannot hold
        return ""


class Host:
    """What one host is asked, and whether it answers.

    Attributes:
        answers: whether it ever did.
        misses: how often it could not be found or reached.
        silence: the reason of the last time.
    """

    def __init__(self, limits: Limits) -> None:
        self._slots = asyncio.Semaphore(limits.per_host)
        self._interval = 1 / limits.rate
        self._next = 0.0  # time of the event loop at which it may be asked again
        self.answers = False
        self.misses = 0
        self.silence = ""

    @property
    def given_up(self) -> bool:
        """Whether it is not worth any more time."""
        return not self.answers and self.misses >= GIVE_UP

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until it may be asked, and count as a request for as long as the block lasts."""
        async with self._slots:
            now = asyncio.get_running_loop().time()
            start = max(now, self._next)
            self._next = start + self._interval
            await asyncio.sleep(start - now)
            yield

    def rest(self, seconds: float) -> None:
        """Ask it nothing for a while."""
        self._next = max(self._next, asyncio.get_running_loop().time() + seconds)


class Web:
    """The hosts that are asked, and the connections to them.

    Attributes:
        hosts: by name.
        answers: how many answers came, of any kind.
    """

    def __init__(self, limits: Limits) -> None:
        self.hosts: defaultdict[str, Host] = defaultdict(lambda: Host(limits))
        self.answers = 0
        self._limits = limits
        self._pool = httpcore.AsyncConnectionPool(
            httpx.create_ssl_context(),
            max_connections=limits.concurrent,
            keepalive_expiry=5,
            network_backend=PublicNetwork(limits.timeout / 3, limits.private_addresses),
        )

    async def close(self) -> None:
        """End all connections."""
        await self._pool.aclose()

    async def get(self, address: str) -> bytes:
        """The body behind an address and its redirects, each asked for in its host's turn.

        Raises:
            Failure: there is none within the limits.
        """
        try:
            url = httpx.URL(address)
            for _ in range(REDIRECTS + 1):
                if url.scheme not in ("http", "https") or not url.host:
                    raise Failure("not http")
                host = self.hosts[url.host]
                if host.given_up:
                    raise Failure(host.silence)
                # Not asyncio.wait_for, which may overhear that the whole round is to end.
                async with host.turn():
                    with anyio.fail_after(self._limits.timeout):
                        answer = await self._ask(url, host)
                if isinstance(answer, bytes):
                    return answer
                url = answer
        except tuple(kind for kind, _ in REASONS) as error:
            reason = next(reason for kind, reason in REASONS if isinstance(error, kind))
            if reason in SILENCE:
                host.misses, host.silence = host.misses + 1, reason
            raise Failure(reason, again=reason in PASSING) from error
        raise Failure("too many redirects")

    async def _ask(self, url: httpx.URL, host: Host) -> bytes | httpx.URL:
        """What one URL answers: a body, or where to go."""
        target = httpcore.URL(
            scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
        )
        asking = {"Host": url.netloc.decode("ascii"), "Accept": "*/*"} | HEADERS
        async with self._pool.stream("GET", target, headers=[*asking.items()]) as answer:
            host.answers = True
            self.answers += 1
            status, headers = answer.status, httpx.Headers(answer.headers)
            if status in REDIRECT and "Location" in headers:
                return url.join(headers["Location"])
            if may_pass(status):
                wish = headers.get("Retry-After", "")
                if wish:
                    host.rest(pause_before_retry(1, wish, 0, self._limits.longest_wait))
                raise Failure(str(status), again=True, retry_after=wish)
            if status != 200:
                raise Failure(str(status))
            body = bytearray()
            if int(headers.get("Content-Length", 0)) > self._limits.max_bytes:
                raise Failure("too large")
            async for block in answer.aiter_stream():
                body += block
                if len(body) > self._limits.max_bytes:
                    raise Failure("too large")
            return bytes(body)
