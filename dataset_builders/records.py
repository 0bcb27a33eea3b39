"""Small JSON files: what must be known of a file stands beside it, in ``NAME.json``."""

import json
from pathlib import Path

from recbole_missrec.files import replacing


def record_path(path: Path) -> Path:
    """Where the record of a file lies."""
    return path.with_name(f"{path.name}.json")


def read_record(path: Path) -> dict:
    """The record of a file; empty if there is none that can be read."""
    try:
        content = json.loads(record_path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_record(path: Path, content: dict) -> None:
    """Write the record of a file, whole or not at all."""
    with replacing(record_path(path)) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
