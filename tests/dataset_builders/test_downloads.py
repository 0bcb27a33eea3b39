"""Files from a real server that breaks off, refuses, redirects and changes its files."""

import gzip
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path

import httpx
import pytest

from dataset_builders import transfers
from dataset_builders.downloads import SourceFile, cached, default_cache, fetch, remote_size
from dataset_builders.transfers import pause_before_retry
from recbole_missrec.errors import UsageError
from tests.dataset_builders.servers import (
    CERTIFICATE,
    Reply,
    Server,
    closed_port,
    redirect,
    serving,
)

BODY = random.Random(0).randbytes(10_000)
OTHER = random.Random(1).randbytes(12_000)
ETAG = {"ETag": '"one"'}
MODIFIED = {"Last-Modified": "Mon, 05 Feb 2018 10:20:30 GMT"}
ELSEWHERE = "give a mirror or a file fetched elsewhere: --source PATH|URL"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfers, "BACK_OFF", 0.001)
    # One authority instead of 150, which take longer to read than most tests do.
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))


@pytest.fixture
def server() -> Iterator[Server]:
    with serving({"/data.gz": Reply(BODY, headers=ETAG | MODIFIED)}) as server:
        yield server


def names(cache: Path) -> list[str]:
    """Files of the cache, without the digest of the URL in front, and without locks."""
    found = (path.name.partition("-")[2] for path in (cache / "downloads").iterdir())
    return sorted(name for name in found if not name.endswith(".lock"))


def ranges(server: Server) -> list[str | None]:
    """The ranges that were asked for, None for a whole file."""
    return [request.headers.get("range") for request in server.requests]


def refusal(address: str, cache: Path, **expected: str | int) -> str:
    """The one line that says why there is no such file."""
    with pytest.raises(UsageError) as error:
        fetch(address, cache, **expected)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_file_is_fetched_once_and_described(server: Server, tmp_path: Path) -> None:
    address = server.url("/data.gz")
    first = fetch(address, tmp_path)
    assert first.path.read_bytes() == BODY
    assert first == SourceFile(
        first.path, address, 10_000, hashlib.sha256(BODY).hexdigest(), "2018-02-05T10:20:30+00:00"
    )
    assert names(tmp_path) == ["data.gz", "data.gz.json"]
    assert json.loads(first.path.with_name(f"{first.path.name}.json").read_text()) == {
        "address": address,
        "size": 10_000,
        "sha256": first.sha256,
        "date": first.date,
        "etag": '"one"',
    }
    assert fetch(address, tmp_path) == cached(address, tmp_path) == first
    assert len(server.requests) == 1


def test_what_is_sent_compressed_is_kept_as_it_is_sent(tmp_path: Path) -> None:
    body = gzip.compress(BODY)
    with serving({"/a.gz": Reply(body, headers={"Content-Encoding": "gzip"})}) as server:
        assert fetch(server.url("/a.gz"), tmp_path).path.read_bytes() == body
    assert server.requests[0].headers["accept-encoding"] == "identity"


def test_a_local_file_stays_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ratings.csv"
    path.write_bytes(BODY)
    os.utime(path, (0, 86_400))
    file = fetch(str(path), tmp_path / "cache", size=10_000, checksum="md5:" + md5(BODY))
    sha256 = hashlib.sha256(BODY).hexdigest()
    assert file == SourceFile(path, str(path), 10_000, sha256, "1970-01-02T00:00:00+00:00")
    assert not (tmp_path / "cache").exists()
    assert remote_size(str(path)) == 10_000


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def test_what_a_local_file_must_be(tmp_path: Path) -> None:
    path = tmp_path / "ratings.csv"
    assert refusal(str(path), tmp_path) == f"{path}: no such file"
    assert refusal(str(tmp_path), tmp_path) == f"{tmp_path}: is a folder, not a file"
    path.write_bytes(BODY)
    assert refusal(str(path), tmp_path, size=7) == f"{path}: has 10,000 bytes, not 7"
    assert refusal(str(path), tmp_path, checksum="md5:" + md5(OTHER)) == (
        f"{path}: its md5 is {md5(BODY)}, not {md5(OTHER)}"
    )
    assert path.read_bytes() == BODY


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://127.0.0.1/a", "s3://bucket/a"])
def test_only_http_and_https(address: str, tmp_path: Path) -> None:
    expected = f"{address}: must be a path, or a URL of http or https"
    assert refusal(address, tmp_path) == expected
    with pytest.raises(UsageError, match="URL of http or https"):
        remote_size(address)
    with serving({"/": redirect(address)}) as server:
        assert "unsupported protocol" in refusal(server.url(), tmp_path)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "address", ["http://", "http://[::1", f"http://{'a' * 70}.com/x", "http://127.0.0.1:99999/x"]
)
def test_what_is_no_url(address: str, tmp_path: Path) -> None:
    message = refusal(address, tmp_path)
    assert message.startswith(f"{address}: ")
    assert "5 times" not in message


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/../../etc/passwd", "passwd"),
        ("/..%2F..%2Fpasswd", "2F..-2Fpasswd"),
        ("/..", "file"),
        ("/", "file"),
        ("/a b;c.csv?x=/../y.zip#z/w", "a-b-c.csv"),
        ("/" + "a" * 300 + ".json.gz", "a" * 72 + ".json.gz"),
    ],
)
def test_no_path_is_taken_from_a_url(path: str, name: str, tmp_path: Path) -> None:
    with serving(lambda _: Reply(BODY)) as server:
        file = fetch(server.url(path), tmp_path)
    assert file.path.parent == tmp_path / "downloads"
    assert file.path.name.partition("-")[2] == name


def test_urls_that_end_alike_have_files_of_their_own(tmp_path: Path) -> None:
    with serving({"/a/x": Reply(BODY), "/b/x": Reply(OTHER)}) as server:
        one, two = (fetch(server.url(path), tmp_path) for path in ("/a/x", "/b/x"))
    assert (one.path.read_bytes(), two.path.read_bytes()) == (BODY, OTHER)


def test_redirects_are_followed_but_not_for_ever(server: Server, tmp_path: Path) -> None:
    server.replies = {
        "/data.gz": Reply(BODY),
        **{f"/{n}": redirect(f"/{n - 1}" if n > 1 else "/data.gz", 301) for n in range(1, 7)},
        "/loop": redirect("/loop"),
    }
    assert fetch(server.url("/5"), tmp_path).path.read_bytes() == BODY
    assert remote_size(server.url("/5")) == 10_000
    for path in ("/6", "/loop"):
        message = refusal(server.url(path), tmp_path)
        assert message == f"{server.url(path)}: Exceeded maximum allowed redirects."


@pytest.mark.parametrize("status", [400, 403, 404, 410])
def test_a_refusal_is_not_asked_twice(status: int, tmp_path: Path) -> None:
    with serving({"/a": Reply(b"<html>", status)}) as server:
        message = refusal(server.url("/a"), tmp_path)
    assert message.startswith(f"{server.url('/a')}: refused with status {status} ")
    assert message.endswith(ELSEWHERE)
    assert len(server.requests) == 1
    assert names(tmp_path) == []


def test_failures_that_pass_are_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfers, "TIMEOUT", httpx.Timeout(0.5))
    slow = Reply(BODY, delay=1)
    replies = [Reply(status=503), slow, Reply(status=500), Reply(status=429), Reply(BODY)]
    with serving({"/a": replies}) as server:
        assert fetch(server.url("/a"), tmp_path).path.read_bytes() == BODY
    assert len(server.requests) == 5


def test_the_server_says_how_long_to_wait(tmp_path: Path) -> None:
    with serving({"/a": [Reply(status=429, headers={"Retry-After": "1"}), Reply(BODY)]}) as server:
        fetch(server.url("/a"), tmp_path)
    assert 1 <= server.gaps()[0] < 2


def test_pauses_are_doubled_and_bounded() -> None:
    def pause(failures: int, retry_after: str = "") -> float:
        return pause_before_retry(failures, retry_after, 0.5, 9)

    assert [pause(n) for n in range(1, 8)] == [0.5, 1, 2, 4, 8, 9, 9]
    assert [pause(1, wish) for wish in ("3", " 0", "86400", "soon", "-1")] == [3, 0.5, 9, 0.5, 0.5]
    now = datetime.now(timezone.utc)
    assert 4 < pause(1, format_datetime(now + timedelta(seconds=6), usegmt=True)) <= 6
    assert pause(1, format_datetime(now - timedelta(days=2), usegmt=True)) == 0.5


@pytest.mark.parametrize("status", [429, 503])
def test_failures_that_do_not_pass_end(status: int, tmp_path: Path) -> None:
    with serving({"/a": Reply(status=status)}) as server:
        message = refusal(server.url("/a"), tmp_path)
    assert message == (
        f"{server.url('/a')}: status {status}, 5 times; run again to go on, or {ELSEWHERE}"
    )
    assert len(server.requests) == 5


@pytest.mark.parametrize("headers", [ETAG, MODIFIED, {"ETag": 'W/"weak"'} | MODIFIED])
def test_a_broken_download_goes_on_where_it_was(headers: dict, tmp_path: Path) -> None:
    """The server hangs up after 1,500 bytes of each answer: more often than TRIES, but each try
    brings something new."""
    with serving({"/a": Reply(BODY, headers=headers, cut=1500)}) as server:
        assert fetch(server.url("/a"), tmp_path).path.read_bytes() == BODY
    assert ranges(server) == [None, *(f"bytes={1500 * n}-" for n in range(1, 7))]
    assert names(tmp_path) == ["a", "a.json"]


@pytest.mark.parametrize(
    "reply",
    [
        Reply(BODY, cut=1500),  # nothing says that its file is the same as before
        Reply(BODY, cut=1500, headers={"ETag": 'W/"weak"'}),
        Reply(BODY, cut=1500, headers=ETAG, ranges=False),
    ],
)
def test_without_ranges_it_starts_anew(reply: Reply, tmp_path: Path) -> None:
    with serving(
        {"/a": [reply, reply, Reply(BODY, headers=reply.headers, ranges=False)]}
    ) as server:
        assert fetch(server.url("/a"), tmp_path).path.read_bytes() == BODY
    asked = "bytes=1500-" if reply.headers == ETAG else None
    assert ranges(server) == [None, asked, asked]
    with serving({"/b": reply}) as server:
        message = refusal(server.url("/b"), tmp_path)
    assert len(server.requests) == 1 + 4  # the first brought something new
    assert "peer closed connection" in message
    assert message.endswith(f", 5 times; run again to go on, or {ELSEWHERE}")


def test_a_file_that_changed_meanwhile_is_taken_anew(tmp_path: Path) -> None:
    """One server says so by a whole answer, another answers with a part of the new file."""
    before = Reply(BODY, headers=ETAG, cut=1500)
    changed = Reply(OTHER, headers={"ETag": '"two"'})
    part = Reply(OTHER[1500:], 206, {"ETag": '"two"', "Content-Range": "bytes 1500-11999/12000"})
    wrong_part = Reply(BODY, 206, ETAG | {"Content-Range": "bytes 0-9999/10000"})
    shorter = Reply(status=416)
    with serving({"/a": [before, changed]}) as server:
        assert fetch(server.url("/a"), tmp_path).path.read_bytes() == OTHER
        assert ranges(server) == [None, "bytes=1500-"]
    for reply in (part, wrong_part, shorter):
        with serving({"/a": [before, reply, changed]}) as server:
            assert fetch(server.url("/a"), tmp_path).path.read_bytes() == OTHER
            assert ranges(server) == [None, "bytes=1500-", None]


def test_a_wrong_checksum_removes_the_file(server: Server, tmp_path: Path) -> None:
    address = server.url("/data.gz")
    wrong = "sha256:" + "0" * 64
    assert refusal(address, tmp_path, checksum=wrong) == (
        f"{address}: its sha256 is {hashlib.sha256(BODY).hexdigest()}, not {'0' * 64}; "
        f"what was fetched is removed, {ELSEWHERE}"
    )
    assert not [name for name in names(tmp_path) if name in ("data.gz", "data.gz.part")]
    right = "md5:" + md5(BODY).upper()
    assert fetch(address, tmp_path, checksum=right, size=10_000).path.read_bytes() == BODY
    assert "its sha256 is" in refusal(address, tmp_path, checksum=wrong)
    assert cached(address, tmp_path)  # what the cache has is another's, who asked for no checksum
    for unknown in ("crc32:12345678", "md5:12", "0" * 32):
        message = f"checksum '{unknown}': must be md5:HEX or sha256:HEX"
        assert refusal(address, tmp_path, checksum=unknown) == message


def test_a_wrong_size_is_refused_before_the_body(server: Server, tmp_path: Path) -> None:
    server.replies = {"/data.gz": Reply(BODY, pause=0.2)}
    address = server.url("/data.gz")
    message = refusal(address, tmp_path, size=10_001)
    assert message == f"{address}: has 10,000 bytes, not 10,001; {ELSEWHERE}"
    assert names(tmp_path) == []


def test_the_size_tells_what_an_answer_without_length_lacks(tmp_path: Path) -> None:
    short = Reply(BODY, headers=ETAG, length=False, cut=4000)
    whole = Reply(BODY, headers=ETAG, length=False)
    with serving({"/a": [short, whole], "/b": short}) as server:
        assert fetch(server.url("/a"), tmp_path, size=10_000).path.read_bytes() == BODY
        assert ranges(server) == [None, "bytes=4000-"]
        message = refusal(server.url("/b"), tmp_path, size=3000)
        assert message.startswith(f"{server.url('/b')}: has 4,000 bytes, not 3,000; what was")


@pytest.mark.parametrize("damage", ["shorter", "altered", "unrecorded", "nonsense"])
def test_a_damaged_file_of_the_cache_is_fetched_again(
    damage: str, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = fetch(server.url("/data.gz"), tmp_path)
    record = file.path.with_name(f"{file.path.name}.json")
    match damage:
        case "shorter":
            file.path.write_bytes(BODY[:-1])
        case "altered":
            file.path.write_bytes(BODY[:-1] + b"?")
        case "unrecorded":
            record.unlink()
        case "nonsense":
            record.write_text("[]")
    assert cached(file.address, tmp_path) is None
    assert fetch(file.address, tmp_path) == file
    assert file.path.read_bytes() == BODY
    assert len(server.requests) == 2
    assert capsys.readouterr().err == f"{file.path}: not what it must be, fetched again\n"


def test_a_part_that_only_lacks_its_name_is_not_asked_for(server: Server, tmp_path: Path) -> None:
    file = fetch(server.url("/data.gz"), tmp_path)
    part = file.path.rename(f"{file.path}.part")
    about = {"etag": '"one"', "modified": MODIFIED["Last-Modified"], "size": 10_000}
    part.with_name(f"{part.name}.json").write_text(json.dumps(about))
    assert fetch(file.address, tmp_path) == file
    assert len(server.requests) == 1
    assert names(tmp_path) == ["data.gz", "data.gz.json"]


@pytest.mark.parametrize("address", ["http://nowhere.invalid/a", "http://127.0.0.1:{closed}/a"])
def test_without_a_network_it_ends_within_seconds(address: str, tmp_path: Path) -> None:
    address = address.format(closed=closed_port())
    start = time.monotonic()
    message = refusal(address, tmp_path)
    assert message.startswith(f"{address}: cannot be reached (")
    assert message.endswith(f"); {ELSEWHERE}")
    with pytest.raises(UsageError) as error:
        remote_size(address)
    assert str(error.value) == message
    assert time.monotonic() - start < 20  # at most two look-ups of a name


def test_a_file_of_the_cache_needs_no_network(tmp_path: Path) -> None:
    with serving({"/a": Reply(BODY)}) as server:
        file = fetch(server.url("/a"), tmp_path)
    assert fetch(file.address, tmp_path) == file


def test_what_there_is_to_fetch(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfers, "TIMEOUT", httpx.Timeout(0.5))
    server.replies = {
        "/a": Reply(BODY),
        "/unknown": Reply(BODY, length=False),
        "/get-only": Reply(BODY, status=405),
        "/slow": Reply(BODY, delay=1),
    }
    sizes = [remote_size(server.url(path)) for path in ("/a", "/unknown", "/get-only", "/slow")]
    assert sizes == [10_000, None, None, None]
    assert len(server.paths("HEAD")) == 4
    with pytest.raises(UsageError, match="/none: refused with status 404 Not Found"):
        remote_size(server.url("/none"))


def test_a_folder_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "downloads").write_text("a file")
    assert "cannot be written: " in refusal(server.url("/data.gz"), tmp_path)
    assert server.requests == []


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache/me")
    assert default_cache() == Path("/var/cache/me/recbole-missrec")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert default_cache() == Path("/home/me/.cache/recbole-missrec")


FETCH = """
import sys
from pathlib import Path
from dataset_builders.downloads import fetch
print(fetch(sys.argv[1], Path(sys.argv[2])).sha256)
"""


def start_fetching(address: str, cache: Path) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", FETCH, address, str(cache)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_killed_and_started_again_it_gives_the_same_bytes(tmp_path: Path) -> None:
    body = BODY * 4  # of which blocks of 8 kB reach the disk
    replies = [Reply(body, headers=ETAG, pause=0.05), Reply(body, headers=ETAG)]
    with serving({"/a": replies}) as server:
        process = start_fetching(server.url("/a"), tmp_path)
        deadline = time.monotonic() + 30
        while not (parts := part_sizes(tmp_path)) or parts[0] == 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        (left,) = part_sizes(tmp_path)
        assert 0 < left < len(body)
        assert fetch(server.url("/a"), tmp_path).path.read_bytes() == body
        assert ranges(server) == [None, f"bytes={left}-"]
    assert names(tmp_path) == ["a", "a.json"]


def part_sizes(cache: Path) -> list[int]:
    return [path.stat().st_size for path in cache.rglob("*.part")]


@pytest.mark.slow
def test_processes_that_ask_at_once_wait_for_the_first(tmp_path: Path) -> None:
    with serving({"/a": Reply(BODY, headers=ETAG, pause=0.1)}) as server:
        processes = [start_fetching(server.url("/a"), tmp_path) for _ in range(3)]
        outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert outputs == [hashlib.sha256(BODY).hexdigest() + "\n"] * 3
    assert len(server.requests) == 1
