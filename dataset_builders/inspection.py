"""Look at a data set that was built: its card, whether its files are whole, some of its items."""

import csv
from pathlib import Path
from textwrap import shorten

import numpy as np
import pandas as pd

from dataset_builders.card import page, read_card
from dataset_builders.dataset_files import CARD
from dataset_builders.downloads import digest
from recbole_missrec.errors import UsageError
from recbole_missrec.picture_files import open_picture

TEXT_WIDTH = 72


def inspect(folder: Path, shown: int = 5) -> str:
    """The card of a data set and some of its items.

    Args:
        folder: of the data set.
        shown: number of items, spread over the whole popularity.

    Returns:
        What to print.

    Raises:
        UsageError: no data set with a card, or files that are not as the card says.
    """
    if shown < 0:
        raise UsageError(f"--items {shown}: must be 0 or more")
    card = read_card(folder)
    faults = [
        f"{name} {fault}"
        for name, file in card["files"].items()
        if (fault := _fault(folder / name, file["size"], file["sha256"]))
    ]
    if faults:
        raise UsageError(
            f"{folder / CARD}: {len(faults):,} of {len(card['files']):,} files are not as it says: "
            f"{', '.join(faults[:5])}; build it again: {card['command']}"
        )
    lines = [page(card), f"All {len(card['files']):,} files are as the card says.", ""]
    items = pd.read_csv(
        folder / f"{card['name']}.inter", sep="\t", dtype=str, keep_default_na=False,
        quoting=csv.QUOTE_NONE, usecols=["item_id:token"],
    )["item_id:token"].value_counts()  # fmt: skip
    texts, pictures = (_pairs(folder / f"{card['name']}.{of}.tsv") for of in ("text", "pictures"))
    for position in np.linspace(0, len(items) - 1, min(shown, len(items)), dtype=int):
        item = str(items.index[position])
        lines.append(f"{item}: {items.iloc[position]:,} interactions")
        lines.append(f"  text: {shorten(texts.get(item, 'none'), TEXT_WIDTH)}")
        lines.append(f"  picture: {_size(folder, pictures.get(item))}")
    return "\n".join(lines)


def _fault(path: Path, size: int, sha256: str) -> str:
    if not path.is_file():
        return "is missing"
    if path.stat().st_size != size:
        return f"has {path.stat().st_size:,} bytes, not {size:,}"
    return "" if digest(path) == sha256 else "has changed"


def _pairs(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8").split("\n")[1:-1]
    return {item: value for item, _, value in (line.partition("\t") for line in lines)}


def _size(folder: Path, file: str | None) -> str:
    if file is None:
        return "none"
    try:
        width, height = open_picture(folder / file).size
    except (OSError, ValueError) as error:
        return f"{file}: {error}"
    return f"{width} x {height} pixels, {file}"
