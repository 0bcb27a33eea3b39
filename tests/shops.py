"""Small shops for tests, written as real files."""

from pathlib import Path
from typing import Any

import numpy as np

from recbole_missrec.config import Config
from recbole_missrec.data.features import write_features

ITEMS = 24
USERS = 30


def write_tiny_shop(
    folder: Path,
    items: int = ITEMS,
    users: int = USERS,
    dims: tuple[int, int] = (7, 5),
    seed: int = 0,
) -> Path:
    """Write ``folder/tiny``: random histories of 4 to 9 items, two modalities with gaps.

    Items i1 and i2 have no text, i2 and i3 no image: i2 has nothing. i4 and i5 look alike.

    Returns:
        The folder, for ``data_path``.
    """
    rng = np.random.default_rng(seed)
    tokens = [f"i{index}" for index in range(items)]
    shop = folder / "tiny"
    shop.mkdir(parents=True)
    rows = []
    for user in range(users):
        length = int(rng.integers(4, 10))
        for time, item in enumerate(rng.choice(items, length, replace=False)):
            rows.append(f"u{user}\ti{item}\t{time}")
    for item in range(items):  # every item occurs
        rows.append(f"u{item % users}\ti{item}\t{-1 - item // users}")
    header = "user_id:token\titem_id:token\ttimestamp:float"
    (shop / "tiny.inter").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    for modality, dim, absent in (("text", dims[0], {1, 2}), ("image", dims[1], {2, 3})):
        matrix = rng.normal(size=(items, dim)).astype(np.float32)
        matrix[5] = matrix[4]
        kept = [index for index in range(items) if index not in absent]
        write_features(
            shop / f"tiny.{modality}.safetensors",
            [tokens[index] for index in kept],
            matrix[kept],
            f"random {modality}",
        )
    return folder


def tiny_config(data_path: Path, model: str = "MISSRec", **options: Any) -> Config:
    """A small configuration of the tiny shop; outputs go beside the data."""
    small: dict[str, Any] = {"hidden_size": 8, "n_heads": 2, "inner_size": 12}
    if model == "MISSRec":
        small["interest_ratio"] = 0.3
    given = {
        "data_path": str(data_path),
        "checkpoint_dir": str(data_path / "saved"),
        "state": "error",
        "show_progress": False,
        "train_batch_size": 32,
        **(small if model in ("MISSRec", "SASRec") else {}),
        **options,
    }
    return Config(model, "tiny", config_dict=given)
