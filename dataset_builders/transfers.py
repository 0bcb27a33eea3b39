"""One file over HTTP: resumed where it broke off, tried again where that may help."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
from tqdm import tqdm

from dataset_builders.records import read_record, write_record
from recbole_missrec.errors import UsageError

TRIES = 5  # in a row that bring nothing new
BACK_OFF = 1.0  # seconds before the second try, doubled before each further one
LONGEST_WAIT = 60.0  # seconds, also where a server asks for more
TIMEOUT = httpx.Timeout(30, connect=5)  # seconds without any byte
REDIRECTS = 5
HEADERS = {"User-Agent": "recbole-missrec", "Accept-Encoding": "identity"}
ELSEWHERE = "give a mirror or a file fetched elsewhere: --source PATH|URL"
# No use in trying again if these come first: there is no network, or no such server.
UNREACHABLE = httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError
NOT_AN_ADDRESS = httpx.UnsupportedProtocol, httpx.LocalProtocolError
NO_SUCH_FILE = {404, 410}


@dataclass(frozen=True)
class Version:
    """What a server says of the file that it has now; empty or None where it does not.

    Attributes:
        etag: header ETag.
        modified: header Last-Modified.
        size: of the whole file, in bytes.
    """

    etag: str = ""
    modified: str = ""
    size: int | None = None

    @property
    def validator(self) -> str:
        """For the header If-Range, which takes no weak ETag."""
        return self.modified if self.etag.startswith("W/") else self.etag or self.modified

    def differs(self, other: "Version") -> bool:
        """Whether something that both know is not the same."""
        pairs = zip(asdict(self).values(), asdict(other).values(), strict=True)
        return any(mine != its for mine, its in pairs if mine and its)


class _Interrupted(Exception):
    """A try that failed where the next one may not."""

    def __init__(self, reason: str, retry_after: str = "") -> None:
        super().__init__(reason)
        self.retry_after = retry_after


def download(address: str, part: Path, size: int | None = None) -> Version:
    """Fetch a file, going on with what an earlier call left of it.

    What is kept is used only if the server says by ETag or Last-Modified that its file is still the
    same. Tries that fail in a way that may pass (broken off, no answer, status 429 or 5xx) are
    repeated, up to ``TRIES`` in a row that bring nothing new. A progress bar shows on a terminal.

    Args:
        address: an http or https URL; up to ``REDIRECTS`` redirects are followed.
        part: the file to complete; its version is kept in a record beside it.
        size: what it must measure, in bytes, if that is known.

    Raises:
        UsageError: the server cannot be reached, or refuses, or has a file of another size.
        OSError: the file cannot be written.
    """
    failures = most = 0
    with _explained(address), _client() as client:
        while True:
            try:
                return _receive(client, address, part, size)
            except (_Interrupted, httpx.TransportError) as error:
                if isinstance(error, UNREACHABLE) and failures == 0:
                    raise
                if isinstance(error, NOT_AN_ADDRESS):
                    raise
                got = part.stat().st_size if part.exists() else 0
                failures = 1 if got > most else failures + 1
                most = max(most, got)
                if failures >= TRIES:
                    raise UsageError(
                        f"{address}: {_one_line(error)}, {failures} times; run again to go on, or "
                        + ELSEWHERE
                    ) from error
                wish = error.retry_after if isinstance(error, _Interrupted) else ""
                time.sleep(pause_before_retry(failures, wish, BACK_OFF, LONGEST_WAIT))


def ask_size(address: str) -> int | None:
    """Size of a server's file in bytes, by a HEAD request; None where the server does not say.

    Raises:
        UsageError: no such file, or the server cannot be reached.
    """
    with _explained(address), _client() as client:
        try:
            answer = client.head(address)
        except (httpx.ReadTimeout, httpx.ReadError, httpx.RemoteProtocolError):
            return None  # such as of servers that know GET only
    if answer.status_code in NO_SUCH_FILE:
        raise _refused(address, answer)
    return _version(answer).size if answer.is_success else None


def may_pass(status: int) -> bool:
    """Whether the same request may succeed later."""
    return status in (408, 425, 429) or status >= 500


def pause_before_retry(failures: int, retry_after: str, first: float, longest: float) -> float:
    """Seconds to wait after failures in a row.

    Args:
        failures: how many, 1 or more.
        retry_after: the server's wish, seconds or an HTTP date; empty for none.
        first: seconds after the first failure, doubled with each further one.
        longest: bound of the result, in seconds.
    """
    if retry_after.strip().isdecimal():
        wish = float(retry_after)
    else:
        wish = (seconds_of(retry_after) or 0) - time.time()
    return min(max(wish, first * 2 ** (failures - 1)), longest)


def seconds_of(date: str) -> float | None:
    """Seconds since 1970 of an HTTP date; None if it is none."""
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None


def _client() -> httpx.Client:
    return httpx.Client(
        headers=HEADERS, timeout=TIMEOUT, follow_redirects=True, max_redirects=REDIRECTS
    )


@contextmanager
def _explained(address: str) -> Iterator[None]:
    """One line for each way in which no answer comes."""
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, OverflowError) as error:
        reason = _one_line(error)
        if isinstance(error, UNREACHABLE):
            reason = f"cannot be reached ({reason}); {ELSEWHERE}"
        raise UsageError(f"{address}: {reason}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _refused(address: str, answer: httpx.Response) -> UsageError:
    status = f"{answer.status_code} {answer.reason_phrase}".strip()
    return UsageError(f"{address}: refused with status {status}; {ELSEWHERE}")


def _receive(client: httpx.Client, address: str, part: Path, size: int | None) -> Version:
    """Complete ``part`` by one request, or by none if all of it is there."""
    kept = Version(**read_record(part))
    start = part.stat().st_size if part.exists() else 0
    if start and start == kept.size:
        return kept
    headers = {}
    if start and kept.validator:
        headers = {"Range": f"bytes={start}-", "If-Range": kept.validator}
    with client.stream("GET", address, headers=headers) as answer:
        status, version = answer.status_code, _version(answer)
        if may_pass(status):
            raise _Interrupted(f"status {status}", answer.headers.get("Retry-After", ""))
        if status == 416 or (status == 206 and not _continues(answer, start, kept)):
            part.unlink(missing_ok=True)
            raise _Interrupted("the server's file has changed")
        if status not in (200, 206):
            raise _refused(address, answer)
        if size is not None and version.size not in (None, size):
            raise UsageError(f"{address}: has {version.size:,} bytes, not {size:,}; {ELSEWHERE}")
        if status == 200:
            start = 0
            part.unlink(missing_ok=True)
            write_record(part, asdict(version))
        else:  # may leave out what was said before
            version = replace(kept, size=version.size or kept.size)
        _append(answer, part, start, version.size)
    missing = (version.size or size or 0) - part.stat().st_size
    if missing > 0:
        raise _Interrupted(f"broken off, {missing:,} bytes are missing")
    return version


def _version(answer: httpx.Response) -> Version:
    etag, modified, length = (
        answer.headers.get(name, "") for name in ("ETag", "Last-Modified", "Content-Length")
    )
    if answer.status_code == 206:
        length = answer.headers.get("Content-Range", "").rpartition("/")[2]
    return Version(etag, modified, int(length) if length.isdecimal() else None)


def _continues(answer: httpx.Response, start: int, kept: Version) -> bool:
    begins = answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")
    return begins and not _version(answer).differs(kept)


def _append(answer: httpx.Response, part: Path, start: int, size: int | None) -> None:
    with (
        part.open("ab") as file,
        tqdm(
            desc=answer.url.path.rpartition("/")[2],
            initial=start,
            total=size,
            unit="B",
            unit_scale=True,
            disable=None,
        ) as bar,
    ):
        for block in answer.iter_raw():
            file.write(block)
            bar.update(len(block))
