"""Single files out of zip and tar archives, as streams: nothing is unpacked to a path."""

import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from dataset_builders.tables import open_plain, reading
from recbole_missrec.errors import UsageError

LARGEST = 3 << 30  # bytes; the largest file that a source reads has 2.4 GB


@contextmanager
def open_zipped(archive: Path, name: str) -> Iterator[IO[bytes]]:
    """Open a file of a zip archive.

    Raises:
        UsageError: no zip archive, a damaged one, no such file in it, an encrypted one, or one of
            more than ``LARGEST`` bytes unpacked.
    """
    with reading(f"{archive}: {name}"), zipfile.ZipFile(archive) as zipped:
        if name not in zipped.namelist():
            raise UsageError(f"{archive}: has no file {name}")
        member = zipped.getinfo(name)
        if member.flag_bits & 1:
            raise UsageError(f"{archive}: {name}: is encrypted")
        _check_size(f"{archive}: {name}", member.file_size)  # zipfile reads no more than that
        with zipped.open(member) as file:
            yield file


@contextmanager
def open_log(path: Path, name: str) -> Iterator[IO[bytes]]:
    """Open a plain or gzip file, or the one of this name, in any folder, of a tar archive.

    Raises:
        UsageError: a damaged file or archive, no such file in it, or one of more than ``LARGEST``
            bytes unpacked.
    """
    if not path.name.endswith((".tar", ".tar.gz", ".tgz")):
        with reading(str(path)), open_plain(path) as file:
            yield file
        return
    with reading(f"{path}: {name}"), tarfile.open(path) as archive:
        for member in archive:
            content = archive.extractfile(member) if Path(member.name).name == name else None
            if content is not None:
                _check_size(f"{path}: {name}", member.size)
                yield content
                return
    raise UsageError(f"{path}: has no file {name}")


def _check_size(where: str, size: int) -> None:
    if size > LARGEST:
        raise UsageError(f"{where}: would be {size:,} bytes, more than {LARGEST:,}")
