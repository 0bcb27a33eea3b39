"""Files from elsewhere: fetched once into a cache folder, checked, never taken half."""

import hashlib
import os
import re
import sys
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from filelock import FileLock

from dataset_builders.records import read_record, record_path, write_record
from dataset_builders.transfers import ELSEWHERE, ask_size, download, seconds_of
from recbole_missrec.errors import UsageError
from recbole_missrec.files import check_writable

BLOCK = 1 << 20  # bytes


@dataclass(frozen=True)
class SourceFile:
    """A file that a data set was made of.

    Attributes:
        path: where it lies.
        address: the URL that it came from, or its path.
        size: in bytes.
        sha256: of its content, in hexadecimal.
        date: when its server, or its folder, says that it was last changed; ISO 8601, or empty.
    """

    path: Path
    address: str
    size: int
    sha256: str
    date: str


def default_cache() -> Path:
    """Our folder for what is fetched, in ``$XDG_CACHE_HOME`` or else ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "recbole-missrec"


def fetch(
    address: str, cache: Path, *, checksum: str | None = None, size: int | None = None
) -> SourceFile:
    """A file by its path or URL; of a URL only what the cache lacks is downloaded.

    An interrupted download goes on where it was. Processes that ask for the same file wait for the
    one that downloads it. Memory does not grow with the file; each use of a cached file reads it
    once, for its digest.

    Args:
        address: a path, whose file is used where it is, or an http or https URL.
        cache: folder for what is fetched, made if need be.
        checksum: what the content must give, ``md5:HEX`` or ``sha256:HEX``.
        size: what it must measure, in bytes.

    Returns:
        The file, whole and checked.

    Raises:
        UsageError: no such file, no network, a server that refuses, or a wrong size or checksum.
    """
    if checksum is not None and not re.fullmatch(
        r"(?i)md5:[\da-f]{32}|sha256:[\da-f]{64}", checksum
    ):
        raise UsageError(f"checksum '{checksum}': must be md5:HEX or sha256:HEX")
    if not _is_url(address):
        file = _local_file(address)
        if fault := _fault(file, checksum, size):
            raise UsageError(f"{address}: {fault}")
        return file
    path = _place(address, cache)
    check_writable(path)
    try:
        with FileLock(f"{path}.lock"):
            kept = cached(address, cache)
            if kept is not None and not _fault(kept, checksum, size):
                return kept
            if path.exists():
                print(f"{path}: not what it must be, fetched again", file=sys.stderr)
            return _download(address, path, checksum, size)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror or error}") from error


def cached(address: str, cache: Path) -> SourceFile | None:
    """The file of a URL, if the cache has it whole; asks no server.

    Args:
        address: the URL.
        cache: folder for what is fetched.
    """
    path = _place(address, cache)
    record = read_record(path)
    if not path.is_file() or path.stat().st_size != record.get("size"):
        return None
    if digest(path) != record.get("sha256"):
        return None
    return SourceFile(path, address, record["size"], record["sha256"], record.get("date", ""))


def remote_size(address: str) -> int | None:
    """How much there is to fetch, in bytes; None where the server does not say.

    Args:
        address: a URL, or a path, as for :func:`fetch`.

    Raises:
        UsageError: no such file, or no network.
    """
    return ask_size(address) if _is_url(address) else _local_path(address).stat().st_size


def digest(path: Path, algorithm: str = "sha256") -> str:
    """Digest of a file's content in hexadecimal, read block by block."""
    state = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            state.update(block)
    return state.hexdigest()


def _is_url(address: str) -> bool:
    scheme, found, _ = address.partition("://")
    if found and scheme.lower() not in ("http", "https"):
        raise UsageError(f"{address}: must be a path, or a URL of http or https")
    return bool(found)


def _local_path(address: str) -> Path:
    path = Path(address)
    if not path.is_file():
        raise UsageError(
            f"{address}: {'is a folder, not a file' if path.is_dir() else 'no such file'}"
        )
    return path


def _local_file(address: str) -> SourceFile:
    path = _local_path(address)
    about = path.stat()
    return SourceFile(path, address, about.st_size, digest(path), _iso(about.st_mtime))


def _iso(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return datetime.fromtimestamp(int(seconds), timezone.utc).isoformat()


def _place(address: str, cache: Path) -> Path:
    """Another name for each URL, with the end of the URL, as that tells the kind of file.

    Nothing in it can lead out of the folder.
    """
    last = re.split("[?#]", address)[0].rpartition("/")[2]
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", last)[-80:].strip(".-") or "file"
    key = hashlib.sha256(address.encode()).hexdigest()[:16]
    return cache / "downloads" / f"{key}-{plain}"


def _fault(file: SourceFile, checksum: str | None, size: int | None) -> str:
    """What is wrong with a file, or nothing."""
    if size is not None and file.size != size:
        return f"has {file.size:,} bytes, not {size:,}"
    if checksum is not None:
        algorithm, _, expected = checksum.lower().partition(":")
        found = digest(file.path, algorithm)
        if found != expected:
            return f"its {algorithm} is {found}, not {expected}"
    return ""


def _download(address: str, path: Path, checksum: str | None, size: int | None) -> SourceFile:
    part = path.with_name(f"{path.name}.part")
    version = download(address, part, size)
    date = _iso(seconds_of(version.modified))
    new = SourceFile(part, address, part.stat().st_size, digest(part), date)
    if fault := _fault(new, checksum, size):
        part.unlink()
        raise UsageError(f"{address}: {fault}; what was fetched is removed, {ELSEWHERE}")
    # The record first: a process that ends in between leaves a part that only lacks its name.
    record = {"address": address, "size": new.size, "sha256": new.sha256, "date": date}
    write_record(path, record | {"etag": version.etag})
    part.replace(path)
    record_path(part).unlink(missing_ok=True)
    return replace(new, path=path)
