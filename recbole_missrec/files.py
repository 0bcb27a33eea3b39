"""Files that appear whole or not at all."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EISDIR
from pathlib import Path
from typing import Any

from recbole_missrec.errors import UsageError


def check_writable(path: Path) -> None:
    """See before the work that its result can be written; makes the folder if need be.

    Raises:
        UsageError: the file cannot be written there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(EISDIR, os.strerror(EISDIR))
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror or error}") from error


@contextmanager
def replacing(path: Path, *failures: type[Exception]) -> Iterator[Path]:
    """Write a file whole or not at all.

    Args:
        path: the file to write; its folder is made if need be.
        failures: what the library that writes makes of a failed write, beside ``OSError``.

    Yields:
        A temporary name in the same folder, renamed to ``path`` when the block ends well.

    Raises:
        UsageError: the file cannot be written there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()  # where it may not be, this says why
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror or error}") from error
    except failures as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"{path}: cannot be written: is the disk full? {reason}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file of JSON, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
