"""Where the shipped props files are."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def props_dir() -> Path:
    """Folder of the shipped YAML files: inside an installed package, beside it in a checkout."""
    installed = _PACKAGE / "props"
    return installed if installed.is_dir() else _PACKAGE.parent / "props"
