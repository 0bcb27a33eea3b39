"""Whether files that stand under their names are whole."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faiss
import onnx
from pyarrow import parquet
from safetensors.torch import load_file

from recbole_missrec.trainer.checkpoint import load_checkpoint


def _page(path: Path) -> None:
    if not path.read_text(encoding="utf-8").endswith("</html>\n"):
        raise ValueError("the page ends early")


READERS: dict[str, Callable[[Path], Any]] = {
    ".json": lambda path: json.loads(path.read_text(encoding="utf-8")),
    ".pth": lambda path: load_checkpoint(path, fields={}),
    ".resume": lambda path: load_checkpoint(path, fields={}),
    ".items": lambda path: load_checkpoint(path, fields={}),
    ".safetensors": load_file,
    ".parquet": parquet.read_table,
    ".html": _page,
    ".faiss": lambda path: faiss.read_index(str(path)),
    ".onnx": lambda path: onnx.load(path),
}


def named_files(folder: Path) -> Iterator[Path]:
    """Files that stand under their names: not those that are being written, no logs."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        hidden = any(part.startswith(".") for part in parts)
        if path.is_file() and not hidden and not parts[0].startswith("log"):
            yield path


def broken_files(folder: Path) -> list[str]:
    """What a reader says of each named file that it cannot read."""
    broken = []
    for path in named_files(folder):
        try:
            READERS.get(path.suffix, Path.read_bytes)(path)
        except Exception as error:  # whatever a reader makes of half a file
            broken.append(f"{path.relative_to(folder)}: {type(error).__name__}: {error}")
    return broken
