"""A process to kill: ``python -m tests.dataset_builders.encode_pictures FOLDER NAME``."""

import sys
from pathlib import Path

from dataset_builders.encoders import choose
from dataset_builders.encoding import encode
from recbole_missrec.data.features import write_features


def encode_pictures(folder: Path, name: str) -> None:
    """Make ``NAME.safetensors`` of 600 items, which are 3 parts, that share the files 0 to 39."""
    pictures = {f"i{number}": folder / f"{number % 40}.png" for number in range(600)}
    encoded = encode(pictures, choose("image", "histogram"), folder / f"{name}.work")
    assert encoded is not None
    tokens, matrix = encoded.features.tokens, encoded.features.matrix
    write_features(folder / f"{name}.safetensors", tokens, matrix, encoded.features.encoder)


if __name__ == "__main__":
    encode_pictures(Path(sys.argv[1]), sys.argv[2])
