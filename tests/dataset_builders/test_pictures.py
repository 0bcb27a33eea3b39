"""Pictures from real servers, among them bad ones, and pictures that are damaged on purpose."""

import io
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dataset_builders.pictures import Limits, fetch_pictures
from recbole_missrec.errors import UsageError
from tests.dataset_builders.servers import (
    CERTIFICATE,
    Reply,
    Server,
    closed_port,
    redirect,
    serving,
)

LIMITS = Limits(timeout=9, retries=2, back_off=0.01, rate=1000, private_addresses=True)


def encoded(picture: Image.Image, kind: str = "png", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(seed: int, width: int = 20, height: int = 10) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def huge_png(width: int, height: int) -> bytes:
    """A few bytes that say that they are a large picture, black as far as it goes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(min((width // 8 + 1) * height, 1_000_000)))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


RED = encoded(Image.new("RGB", (4, 3), "red"))
JPEG = encoded(noise(0, 200, 100), "jpeg")


@pytest.fixture(autouse=True)
def _one_authority(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of the 150 that take longer to read than most tests do."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))


@pytest.fixture
def server() -> Iterator[Server]:
    with serving({}) as server:
        yield server


def fetch(
    server: Server, cache: Path, *paths: str, limits: Limits = LIMITS
) -> tuple[dict[str, bytes], dict[str, int]]:
    """Path -> content of what could be fetched, and the failures."""
    files, failures = fetch_pictures({path: server.url(path) for path in paths}, cache, limits)
    return {path: file.read_bytes() for path, file in files.items()}, dict(failures)


def test_items_have_files_and_the_rest_have_reasons(server: Server, tmp_path: Path) -> None:
    server.replies = {
        "/red.png": Reply(RED),
        "/photo": Reply(JPEG, headers={"Content-Type": "text/plain"}),
        "/moved": redirect("/photo"),
        "/cut.jpg": Reply(JPEG[: len(JPEG) // 2]),
        "/page": Reply(b"<html>no such product</html>"),
        "/empty": Reply(b""),
        "/gone": Reply(status=410),
        "/loop": redirect("/loop"),
        "/away": redirect("ftp://127.0.0.1/red.png"),
    }
    addresses = {path: server.url(path) for path in [*server.replies, "/none"]}
    addresses["again"] = server.url("/red.png")
    addresses["none again"] = server.url("/none")
    addresses["local"] = "file:///etc/passwd"
    addresses["old"] = "ftp://127.0.0.1/red.png"
    addresses["odd"] = "http://[::1/"
    addresses["no name of a host"] = "http://xn--a/x.jpg"
    addresses["relative"] = "/red.png"
    files, failures = fetch_pictures(addresses, tmp_path, LIMITS)
    assert {item: file.read_bytes() for item, file in files.items()} == {
        "/red.png": RED,
        "/photo": JPEG,
        "/moved": JPEG,
        "again": RED,
    }
    assert files["again"] == files["/red.png"]
    assert failures == {
        "does not decode": 3,
        "404": 2,
        "410": 1,
        "too many redirects": 1,
        "not http": 4,
        "not an address": 2,
    }
    assert Counter(server.paths()) == Counter([*server.replies, "/none", "/photo"] + ["/loop"] * 5)


def test_no_path_is_taken_from_a_url(server: Server, tmp_path: Path) -> None:
    server.replies = lambda path: Reply(RED)
    files, _ = fetch_pictures({"1": server.url("/..%2F../a?../b")}, tmp_path, LIMITS)
    (found,) = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".json"]
    assert found == files["1"]
    assert found.parent.parent == tmp_path / "pictures"
    assert found.parent.name == found.name[:2]
    assert len(bytes.fromhex(found.name)) == 32


def test_what_is_known_is_not_asked_again(server: Server, tmp_path: Path) -> None:
    """The second time only what may have passed is asked for, and found."""
    server.replies = {
        "/red": Reply(RED),
        "/page": Reply(b"<html>"),
        "/large": Reply(RED * 2000),
        "/vast": Reply(huge_png(9_000, 8_000)),
        "/busy": Reply(status=503),
        "/throttled": Reply(status=429),
        "/cut": Reply(JPEG, cut=100),
        "/slow": Reply(JPEG, delay=8),
    }
    limits = replace(LIMITS, max_bytes=100_000, retries=0, timeout=6)
    paths = [*server.replies, "/none"]
    final = {"404": 1, "does not decode": 1, "too large": 1, "too many pixels": 1}
    assert fetch(server, tmp_path, *paths, limits=limits) == (
        {"/red": RED},
        {**final, "503": 1, "429": 1, "broken off": 1, "time-out": 1},
    )
    passing = {path: Reply(JPEG) for path in ("/busy", "/throttled", "/cut", "/slow")}
    server.replies |= passing
    server.requests.clear()
    assert fetch(server, tmp_path, *paths, limits=limits) == (
        {"/red": RED} | dict.fromkeys(passing, JPEG),
        final,
    )
    assert set(server.paths()) == set(passing)
    server.requests.clear()
    assert fetch(server, tmp_path, *paths, limits=limits)[1] == final
    assert server.requests == []


def test_what_other_limits_refused_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.replies = {"/photo": Reply(JPEG), "/page": Reply(b"<html>")}
    for limits, reason in (
        (replace(LIMITS, max_bytes=1000), "too large"),
        (replace(LIMITS, max_pixels=19_999), "too many pixels"),
    ):
        assert fetch(server, tmp_path, "/photo", limits=limits) == ({}, {reason: 1})
    limits = replace(LIMITS, max_bytes=len(JPEG), max_pixels=20_000)
    assert fetch(server, tmp_path, "/photo", limits=limits) == ({"/photo": JPEG}, {})


def test_tries_are_repeated(server: Server, tmp_path: Path) -> None:
    server.replies = {
        "/a": [Reply(status=500), Reply(status=503), Reply(RED)],
        "/b": [Reply(status=429), Reply(JPEG, cut=500), Reply(JPEG)],
        "/c": Reply(status=502),
        "/d": Reply(status=404),
    }
    assert fetch(server, tmp_path, "/a", "/b", "/c", "/d") == (
        {"/a": RED, "/b": JPEG},
        {"502": 1, "404": 1},
    )
    assert Counter(server.paths()) == {"/a": 3, "/b": 3, "/c": 3, "/d": 1}


def test_a_host_that_asks_for_rest_is_left_alone(server: Server, tmp_path: Path) -> None:
    """Nothing is asked of it for the second that it wants, whichever picture it was asked for."""
    server.replies = {
        "/1": [Reply(status=429, headers={"Retry-After": "1"}), Reply(RED)],
        "/2": Reply(RED, delay=0.5),
        "/3": Reply(RED),
    }
    limits = replace(LIMITS, per_host=2)
    assert fetch(server, tmp_path, "/1", "/2", "/3", limits=limits)[1] == {}
    assert sorted(server.paths()[:2]) == ["/1", "/2"]
    assert server.requests[2].time - server.requests[0].time >= 1
    with serving(
        {"/1": [Reply(status=429, headers={"Retry-After": "86400"}), Reply(RED)]}
    ) as other:
        impatient = replace(LIMITS, longest_wait=0.05)
        assert fetch(other, tmp_path, "/1", limits=impatient)[1] == {}


def test_slow_servers_end_by_the_clock(server: Server, tmp_path: Path) -> None:
    """One does not begin, the other does not end: 200 blocks of 1,024 bytes, 0.1 s each."""
    server.replies = {
        "/late": Reply(RED, delay=15),
        "/drops": Reply(bytes(200 * 1024), pause=0.1),
    }
    start = time.monotonic()
    limits = replace(LIMITS, retries=1, timeout=3)
    assert fetch(server, tmp_path, "/late", "/drops", limits=limits) == ({}, {"time-out": 2})
    assert time.monotonic() - start < 12
    assert len(server.requests) == 4


def test_too_large_a_body_is_not_read_to_its_end(server: Server, tmp_path: Path) -> None:
    """Where its size is said before, it is not begun. All of it would take 6 s."""
    body = bytes(200 * 1024)
    server.replies = {
        "/said": Reply(body, pause=0.03),
        "/unsaid": Reply(body, pause=0.03, length=False),
    }
    for path, kilobytes in (("/said", 150), ("/unsaid", 3)):
        start = time.monotonic()
        limits = replace(LIMITS, max_bytes=kilobytes * 1024)
        assert fetch(server, tmp_path, path, limits=limits) == ({}, {"too large": 1})
        assert time.monotonic() - start < 4


def test_bombs_are_not_decoded(server: Server, tmp_path: Path) -> None:
    """Beyond Pillow's own cap, and below it but above ours."""
    server.replies = {"/giga": Reply(huge_png(40_000, 30_000)), "/mega": Reply(huge_png(900, 800))}
    limits = replace(LIMITS, max_pixels=700_000)
    assert fetch(server, tmp_path, *server.replies, limits=limits)[1] == {"too many pixels": 2}


def test_one_host_is_not_flooded(server: Server, tmp_path: Path) -> None:
    server.replies = lambda path: Reply(RED, delay=0.05)
    paths = [f"/{n}" for n in range(12)]
    limits = replace(LIMITS, per_host=3)
    assert fetch(server, tmp_path, *paths, limits=limits)[1] == {}
    assert server.most_at_once == 3
    names = ("127.0.0.1", "localhost")  # two hosts to us
    addresses = {f"{name}{path}": server.url(path, name) for name in names for path in paths}
    fetch_pictures(addresses, tmp_path / "two", limits)
    assert server.most_at_once == 6
    server.most_at_once = 0
    fetch_pictures(addresses, tmp_path / "few", replace(limits, concurrent=4))
    assert server.most_at_once == 4


def test_redirects_take_their_turn_at_the_host_that_they_lead_to(
    server: Server, tmp_path: Path
) -> None:
    server.replies = lambda path: Reply(RED, delay=0.05)
    with serving(lambda path: redirect(server.url(path))) as other:
        addresses = {str(n): other.url(f"/{n}", "localhost") for n in range(8)}
        addresses |= {str(n): server.url(f"/{n}") for n in range(8, 16)}
        limits = replace(LIMITS, per_host=2)
        assert fetch_pictures(addresses, tmp_path, limits)[1] == {}
    assert server.most_at_once == 2


def test_one_host_is_not_asked_too_often(server: Server, tmp_path: Path) -> None:
    server.replies = lambda path: Reply(RED)
    limits = replace(LIMITS, rate=20)
    fetch(server, tmp_path, *(f"/{n}" for n in range(11)), limits=limits)
    assert sum(server.gaps()) > 0.4  # 10 gaps of 0.05 s, the first of which may seem shorter


def nowhere(number: int) -> dict[str, str]:
    return {f"none {n}": f"http://nowhere{n}.invalid/{n}" for n in range(number)}


@pytest.fixture
def look_ups(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names that were looked up. What ends in .invalid is not found, and that at once."""
    names = []
    look_up = socket.getaddrinfo

    def answer(name: str, *words: Any, **options: Any) -> list:
        names.append(name)
        if name.endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return look_up(name, *words, **options)

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return names


@pytest.mark.parametrize("number", [3, 2000])
@pytest.mark.parametrize("pattern", ["http://nowhere{}.invalid/", "http://nowhere.invalid/{}"])
def test_without_a_network_it_ends_early(
    pattern: str, number: int, tmp_path: Path, look_ups: list[str]
) -> None:
    """With a bounded number of tries, whether each picture has its own host or all have one."""
    addresses = {str(n): pattern.format(n) for n in range(number)}
    with pytest.raises(UsageError) as error:
        fetch_pictures(addresses, tmp_path, LIMITS)
    first, _, rest = str(error.value).partition(": ")
    assert first in addresses.values()
    assert rest == (
        "no such host, nor any answer from another host of pictures; "
        "run again with a network, what was fetched is kept, or go without: --image none"
    )
    assert 9 <= len(look_ups) <= 300
    assert not any(tmp_path.rglob("*.json"))  # nothing is remembered of it


def test_one_true_look_up_ends_within_seconds(tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(UsageError, match="^http://nowhere.invalid/: no "):
        fetch_pictures({"1": "http://nowhere.invalid/"}, tmp_path, LIMITS)
    assert time.monotonic() - start < 20


@pytest.mark.usefixtures("look_ups")
def test_a_network_that_is_lost_on_the_way_ends_it(server: Server, tmp_path: Path) -> None:
    """The one host that answers has two pictures, and so comes first."""
    server.replies = {"/1": Reply(RED), "/2": Reply(RED)}
    addresses = {"1": server.url("/1"), "2": server.url("/2")} | nowhere(500)
    with pytest.raises(UsageError, match="nor any answer from another host"):
        fetch_pictures(addresses, tmp_path, LIMITS)


@pytest.mark.usefixtures("look_ups")
def test_many_dead_hosts_among_answers_are_no_missing_network(
    server: Server, tmp_path: Path
) -> None:
    """One of two workers goes along the host that answers, the other along those that do not."""
    server.replies = lambda path: Reply(RED)
    addresses = {str(n): server.url(f"/{n}") for n in range(150)} | nowhere(70)
    limits = replace(LIMITS, concurrent=2, per_host=1, retries=0)
    files, failures = fetch_pictures(addresses, tmp_path, limits)
    assert (len(files), failures) == (150, {"no such host": 70})


@pytest.mark.usefixtures("look_ups")
def test_hosts_that_are_gone_are_no_missing_network(server: Server, tmp_path: Path) -> None:
    """Not even when, later on, only their pictures are missing; a host that answers is not gone."""
    server.replies = {"/a": Reply(RED, delay=0.3)}
    closed = f"http://127.0.0.2:{closed_port()}/x"
    addresses = {"a": server.url("/a"), "closed": closed} | nowhere(3)
    expected = {"no such host": 3, "no connection": 1}
    for _ in range(2):
        files, failures = fetch_pictures(addresses, tmp_path, LIMITS)
        assert (list(files), failures) == (["a"], expected)
    with pytest.raises(UsageError, match="nowhere9.invalid/: no such host, nor any answer"):
        fetch_pictures(addresses | {"new": "http://nowhere9.invalid/"}, tmp_path, LIMITS)


def test_a_host_that_never_answers_is_given_up(server: Server, tmp_path: Path) -> None:
    """Its thousand pictures take no longer than a few."""
    server.replies = {"/a": Reply(RED)}
    port = closed_port()
    addresses = {str(n): f"http://127.0.0.2:{port}/{n}" for n in range(1000)}
    limits = replace(LIMITS, back_off=0.2)
    start = time.monotonic()
    _, failures = fetch_pictures(addresses | {"a": server.url("/a")}, tmp_path, limits)
    assert failures == {"no connection": 1000}
    assert time.monotonic() - start < 5


FETCH = """
import sys
from pathlib import Path
from dataset_builders.pictures import Limits, fetch_pictures
limits = Limits(per_host=2, private_addresses=True)
fetch_pictures({str(n): f"{sys.argv[1]}{n}" for n in range(12)}, Path(sys.argv[2]), limits)
"""


@pytest.mark.slow
def test_killed_it_leaves_whole_files_and_goes_on(server: Server, tmp_path: Path) -> None:
    server.replies = lambda path: Reply(JPEG, pause=0.02)
    process = subprocess.Popen([sys.executable, "-c", FETCH, server.url("/"), str(tmp_path)])
    deadline = time.monotonic() + 30
    while len(kept := pictures_in(tmp_path)) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    kept = pictures_in(tmp_path)
    assert 3 <= len(kept) < 12
    assert {path.read_bytes() for path in kept} == {JPEG}
    server.requests.clear()
    addresses = {f"/{n}": server.url(f"/{n}") for n in range(12)}
    files, failures = fetch_pictures(addresses, tmp_path, LIMITS)
    assert ([path.read_bytes() for path in files.values()], failures) == ([JPEG] * 12, {})
    assert set(server.paths()) == {path for path, file in files.items() if file not in kept}


def pictures_in(cache: Path) -> list[Path]:
    return [path for path in cache.rglob("[0-9a-f]*") if len(path.name) == 64]
