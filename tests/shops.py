"""Small shops for tests, written as real files."""

from pathlib import Path
from typing import Any

import numpy as np

from recbole_missrec.config import Config
from recbole_missrec.data.features import write_features

ITEMS = 24
USERS = 30
TRANSFORMERS = ("MISSRec", "UniSRec", "VQRec", "SASRecContent", "SASRec", "BERT4Rec")
OF_MODEL: dict[str, dict[str, Any]] = {
    "MISSRec": {"interest_ratio": 0.3, "modality_dropout": 0.0},
    "UniSRec": {"modalities": ["text", "image"], "n_experts": 3},
    "VQRec": {"modalities": ["text", "image"], "code_groups": 4, "code_bits": 3},
    "SASRecContent": {"modalities": ["text", "image"]},
    "LastItem": {"modalities": ["text", "image"]},
}


def write_tiny_shop(
    folder: Path,
    items: int = ITEMS,
    users: int = USERS,
    dims: tuple[int, int] = (7, 5),
    seed: int = 0,
    ticks: int = 1,
    name: str = "tiny",
) -> Path:
    """Write ``folder/NAME``: random histories of 4 to 9 items, two modalities with gaps.

    Items i1 and i2 have no text, i2 and i3 no image: i2 has nothing. i4 and i5 look alike.
    With ``ticks`` above 1 the file is sorted by time and about that many interactions of a user
    share a timestamp.

    Returns:
        The folder, for ``data_path``.
    """
    rng = np.random.default_rng(seed)
    tokens = [f"i{index}" for index in range(items)]
    shop = folder / name
    shop.mkdir(parents=True)
    rows = []
    for user in range(users):
        length = int(rng.integers(4, 10))
        for time, item in enumerate(rng.choice(items, length, replace=False)):
            rows.append((time, user, item))
    for item in range(items):  # every item occurs
        rows.append((-1 - item // users, item % users, item))
    if ticks > 1:
        rows = [(time // ticks, user, item) for time, user, item in sorted(rows)]
    lines = [f"u{user}\ti{item}\t{time}" for time, user, item in rows]
    header = "user_id:token\titem_id:token\ttimestamp:float"
    (shop / f"{name}.inter").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    for modality, dim, absent in (("text", dims[0], {1, 2}), ("image", dims[1], {2, 3})):
        matrix = rng.normal(size=(items, dim)).astype(np.float32)
        matrix[5] = matrix[4]
        kept = [index for index in range(items) if index not in absent]
        write_features(
            shop / f"{name}.{modality}.safetensors",
            [tokens[index] for index in kept],
            matrix[kept],
            f"random {modality}",
        )
    return folder


def write_shop_with_unseen_items(folder: Path) -> Path:
    """The tiny shop, where i2, i3 and i7 stand nowhere but last, as test items.

    i3 has a text alone, i2 nothing, i7 both.
    """
    shop = write_tiny_shop(folder)
    path = shop / "tiny" / "tiny.inter"
    head, *lines = path.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if line.split("\t")[1] not in ("i2", "i3", "i7")]
    last = [f"u{user}\ti{item}\t99" for user, item in enumerate((2, 3, 7))]
    path.write_text("\n".join([head, *kept, *last]) + "\n", encoding="utf-8")
    return shop


def read_histories(data_path: Path) -> dict[str, list[str]]:
    """Items of each user of the tiny shop by time, those of one time as they stand in the file."""
    lines = (data_path / "tiny" / "tiny.inter").read_text(encoding="utf-8").splitlines()[1:]
    rows = [line.split("\t") for line in lines]
    histories: dict[str, list[str]] = {}
    for user, item, _ in sorted(rows, key=lambda row: float(row[2])):
        histories.setdefault(user, []).append(item)
    return histories


def tiny_options(data_path: Path, model: str = "MISSRec", **options: Any) -> dict[str, Any]:
    """Options that make a model small enough for the tiny shop; outputs go beside the data."""
    small = {"hidden_size": 8, "n_heads": 2, "inner_size": 12} if model in TRANSFORMERS else {}
    return {
        "data_path": str(data_path),
        "checkpoint_dir": str(data_path / "saved"),
        "state": "error",
        "show_progress": False,
        "train_batch_size": 32,
        **small,
        **OF_MODEL.get(model, {}),
        **options,
    }


def tiny_config(data_path: Path, model: str = "MISSRec", **options: Any) -> Config:
    """A small configuration of the tiny shop."""
    return Config(model, "tiny", config_dict=tiny_options(data_path, model, **options))


def tiny_words(data_path: Path, model: str = "MISSRec", **options: Any) -> list[str]:
    """The same as words of a command line."""
    given = {"model": model, "dataset": "tiny", **tiny_options(data_path, model, **options)}
    return [f"--{key}={value}" for key, value in given.items()]
