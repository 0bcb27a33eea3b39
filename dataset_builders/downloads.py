"""Files from elsewhere: fetched once into a cache folder, checked, never taken half."""

from dataclasses import dataclass
from pathlib import Path


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
