"""Which machines pictures may come from, whatever their addresses and names say."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from PIL import Image

from dataset_builders.pictures import Limits, fetch_pictures
from dataset_builders.public_network import is_public
from tests.dataset_builders.servers import CERTIFICATE, Reply, Server, redirect, serving
from tests.dataset_builders.test_pictures import encoded

LIMITS = Limits(timeout=5, retries=0)
RED = encoded(Image.new("RGB", (4, 3), "red"))
FRONT, BACK = "8.8.4.4", "2001:4860:4860::8844"  # public ones, which lead to our server


class Internet:
    """Stands in for the world outside: the names there, and what our machines are there.

    Attributes:
        names: host -> its addresses, at each look-up in turn, the last of them repeated.
        reached: the IP addresses that connections were made to.
        down: those that nobody answers at.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: dict[str, list[list[str]]] = {}
        self.reached: list[str] = []
        self.down: set[str] = set()
        self._look_up, self._connect = socket.getaddrinfo, anyio.connect_tcp
        monkeypatch.setattr(socket, "getaddrinfo", self._getaddrinfo)
        monkeypatch.setattr(anyio, "connect_tcp", self._connect_tcp)

    def _getaddrinfo(self, host: str, port: int, *words: Any, **options: Any) -> list[tuple]:
        if host not in self.names:
            return self._look_up(host, port, *words, **options)
        turns = self.names[host]
        found = turns.pop(0) if len(turns) > 1 else turns[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    async def _connect_tcp(self, remote_host: str, remote_port: int, **options: Any) -> Any:
        self.reached.append(remote_host)
        if remote_host in self.down:
            raise ConnectionRefusedError
        here = "127.0.0.1" if remote_host in (FRONT, BACK) else remote_host
        return await self._connect(remote_host=here, remote_port=remote_port, **options)


@pytest.fixture
def internet(monkeypatch: pytest.MonkeyPatch) -> Internet:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    return Internet(monkeypatch)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving({"/red": Reply(RED)}) as server:
        yield server


def outcome(address: str, cache: Path) -> bytes | str:
    """The picture, or why there is none."""
    files, failures = fetch_pictures({"item": address}, cache, LIMITS)
    assert sum(failures.values()) + len(files) == 1
    return files["item"].read_bytes() if files else next(iter(failures))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        *((public, True) for public in ("8.8.8.8", "2001:4860:4860::8888", "64:ff9b::808:808")),
        *((mapped, True) for mapped in ("::ffff:8.8.8.8", "2002:808:808::1")),
        *((private, False) for private in ("10.1.2.3", "172.16.0.1", "192.168.1.1", "fd00::1")),
        *((loopback, False) for loopback in ("127.0.0.1", "127.9.9.9", "::1")),
        *((link_local, False) for link_local in ("169.254.169.254", "fe80::1", "fe80::1%eth0")),
        *((multicast, False) for multicast in ("224.0.0.1", "239.1.1.1", "ff02::1")),
        *((reserved, False) for reserved in ("0.0.0.0", "0.1.2.3", "240.0.0.1", "::", "4000::1")),
        *((shared, False) for shared in ("100.64.0.1", "255.255.255.255", "198.18.0.1")),
        *((document, False) for document in ("192.0.2.1", "203.0.113.7", "2001:db8::1")),
        *((mapped, False) for mapped in ("::ffff:127.0.0.1", "::ffff:10.0.0.1", "fec0::1")),
        *((embedded, False) for embedded in ("2002:7f00:1::1", "64:ff9b::a00:1", "2001::1")),
        ("::127.0.0.1", False),
    ],
)
def test_what_is_public(address: str, expected: bool) -> None:
    assert is_public(address) is expected


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "0.0.0.0", "[::1]", "[::]"]
    + ["[::ffff:127.0.0.1]", "10.0.0.1", "169.254.169.254", "LOCALHOST"],
)
def test_this_machine_and_its_network_are_not_asked(
    host: str, server: Server, internet: Internet, tmp_path: Path
) -> None:
    assert outcome(server.url("/red", host), tmp_path) == "private address"
    assert (server.requests, internet.reached) == ([], [])


def test_a_name_of_a_public_address(server: Server, internet: Internet, tmp_path: Path) -> None:
    internet.names["shop.example"] = [[FRONT]]
    assert outcome(server.url("/red", "shop.example"), tmp_path) == RED
    assert internet.reached == [FRONT]
    (request,) = server.requests
    assert request.headers["host"] == f"shop.example:{server.server_port}"


def test_a_name_of_a_private_address(server: Server, internet: Internet, tmp_path: Path) -> None:
    internet.names["shop.example"] = [["10.0.0.1", "127.0.0.1"]]
    assert outcome(server.url("/red", "shop.example"), tmp_path) == "private address"
    assert internet.reached == []


def test_of_several_addresses_only_the_public_ones_are_tried(
    server: Server, internet: Internet, tmp_path: Path
) -> None:
    internet.names["shop.example"] = [["127.0.0.1", FRONT, "10.0.0.1", BACK]]
    internet.down = {FRONT}
    assert outcome(server.url("/red", "shop.example"), tmp_path) == RED
    assert internet.reached == [FRONT, BACK]


def test_a_name_that_changes_its_address_gains_nothing(
    server: Server, internet: Internet, tmp_path: Path
) -> None:
    """It is public when it is looked at, and would be private when it is looked up again."""
    internet.names["shop.example"] = [[FRONT], ["127.0.0.1"]]
    assert outcome(server.url("/red", "shop.example"), tmp_path) == RED
    assert internet.reached == [FRONT]
    assert internet.names["shop.example"] == [["127.0.0.1"]]  # one look-up
    server.replies = {"/blue": Reply(RED)}
    assert outcome(server.url("/blue", "shop.example"), tmp_path) == "private address"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "inside.example"])
def test_a_redirect_into_the_own_network_is_not_followed(
    host: str, server: Server, internet: Internet, tmp_path: Path
) -> None:
    internet.names |= {"shop.example": [[FRONT]], "inside.example": [["192.168.1.1"]]}
    server.replies = {"/a": redirect(server.url("/red", host)), "/red": Reply(RED)}
    assert outcome(server.url("/a", "shop.example"), tmp_path) == "private address"
    assert server.paths() == ["/a"]
    assert internet.reached == [FRONT]


def test_certificates_are_those_of_the_name(internet: Internet, tmp_path: Path) -> None:
    """Though the connection is made to an IP address, which two names have; one proves itself."""
    internet.names |= {"shop.example": [[FRONT]], "other.example": [[FRONT]]}
    with serving(lambda path: Reply(RED), CERTIFICATE) as server:
        addresses = {name: server.url(f"/{name}", f"{name}.example") for name in ("shop", "other")}
        files, failures = fetch_pictures(addresses, tmp_path, LIMITS)
    assert (list(files), failures) == (["shop"], {"no connection": 1})
    assert server.paths() == ["/shop"]
