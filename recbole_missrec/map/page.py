"""The page: what it shows, packed, and the template that it is shown by."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from typing import Any

import numpy as np

from recbole_missrec.map.readings import Reading
from recbole_missrec.pages import render_page

SCRIPTS = ("data.js", "canvas.js", "moving.js", "tables.js", "start.js")
STEPS = 2**16 - 1  # of a coordinate: finer than the pixels of a screen, also close by
TITLE = 100  # signs of a title that are shown
LOOKS = {  # of each way to read a history, at items and at interests
    "item_queries": (
        "self-attention of the last item to the items",
        "its cross-attention to the interests",
    ),
    "interest_queries": (
        "cross-attention of the interests to the items",
        "their self-attention, both as means over the interests",
    ),
    "no_decoder": (
        "self-attention of the last item to the items",
        "to the interests, 100 % being both together",
    ),
}


@dataclass(frozen=True, eq=False)
class MapContent:
    """What a page shows; items are counted from 0, without the padding item.

    Attributes:
        dataset: name of the data set.
        origin: of the model, in words.
        plane: how tokens became points, in words.
        modalities: their names.
        points: of the tokens, ``[modalities, items, 2]``; of no meaning where absent.
        ids: interest of each token, ``[modalities, items]``, -1 where a modality is absent.
        tokens: raw item tokens, ``[items]``.
        titles: of the items, ``[items]``, empty where there is none.
        typical: items of each interest, nearest to the centroid first, ``[interests, most]``; -1
            where there are fewer.
        words: of each interest, ``[interests][at most some]``.
        pictures: item -> ``data:`` address.
        reading: how the model reads a history, a key of `LOOKS`.
        readings: of some users; internal ids of items, padding included.
    """

    dataset: str
    origin: str
    plane: str
    modalities: list[str]
    points: np.ndarray
    ids: np.ndarray
    tokens: list[str]
    titles: Sequence[str]
    typical: np.ndarray
    words: list[list[str]]
    pictures: Mapping[int, str]
    reading: str
    readings: Sequence[Reading]


def render(content: MapContent) -> str:
    """The page as HTML, one file that needs no other.

    Of a token it holds 11 bytes, of an item its raw token and title, of an interest its typical
    items and words. Time and memory grow as these.

    Args:
        content: what it shows.
    """
    folder = files("recbole_missrec.map") / "templates"
    script = "\n".join((folder / name).read_text(encoding="utf-8") for name in SCRIPTS)
    packed = json.dumps(_packed(content), ensure_ascii=False, separators=(",", ":"))
    to_items, to_interests = LOOKS[content.reading]
    about = {
        "dataset": content.dataset,
        "summary": f"{_counts(content)} {content.origin}.",
        "plane": content.plane,
        "points": f"{np.count_nonzero(content.ids >= 0):,}",
        "words": any(content.words),
        "layer": "encoder" if content.reading == "no_decoder" else "decoder",
        "to_items": to_items,
        "to_interests": to_interests,
        "heads": len(content.readings[0].attention.items),
    }
    return render_page(
        "recbole_missrec.map",
        "map.html",
        about=about,
        modalities=content.modalities,
        users=[reading.user for reading in content.readings],
        data=packed.replace("<", "\\u003c"),  # no end of the script can stand in a title
        script=script,
        script_hash=f"sha256-{base64.b64encode(sha256(script.encode()).digest()).decode()}",
    )


def _counts(content: MapContent) -> str:
    present = content.ids >= 0  # [modalities, items]
    of_each = ", ".join(
        f"{count:,} {modality}"
        for modality, count in zip(content.modalities, present.sum(1), strict=True)
    )
    used = len(np.unique(content.ids[present]))
    return (
        f"{len(content.tokens):,} items, {present.sum():,} tokens ({of_each}), {used:,} interests."
    )


def _packed(content: MapContent) -> dict[str, Any]:
    """What the script reads, see ``templates/data.js``."""
    x, y = quantise(content.points, content.ids >= 0)
    titles = [
        title if len(title) <= TITLE else title[: TITLE - 1] + "…" for title in content.titles
    ]
    return {
        "modalities": content.modalities,
        "x": _base64(x, "<u2"),
        "y": _base64(y, "<u2"),
        "interest": _base64(content.ids, "<i4"),
        "tokens": content.tokens,
        "titles": titles if any(titles) else None,
        "typical": _base64(content.typical, "<i4"),
        "words": [" ".join(words) for words in content.words],
        "pictures": content.pictures,
        "users": [
            {
                "user": reading.user,
                "items": [item - 1 for item in reading.items],
                "target": reading.target - 1,
                "interests": reading.attention.interests.tolist(),
                "toItems": reading.attention.items.double().numpy().round(5).tolist(),
                "toInterests": reading.attention.shares.double().numpy().round(5).tolist(),
            }
            for reading in content.readings
        ],
    }


def quantise(points: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Points on a grid of whole numbers from 0 to ``STEPS``, both axes on the same scale.

    Args:
        points: ``[modalities, items, 2]``.
        present: bool ``[modalities, items]``; the others do not count, and become 0.

    Returns:
        int64 ``[2, modalities, items]``.
    """
    there = points[present]  # [tokens, 2]
    low = there.min(0)
    span = max((there.max(0) - low).max(), np.finfo(float).tiny)
    grid = np.where(present[..., None], np.rint((points - low) / span * STEPS), 0)
    return np.moveaxis(grid, 2, 0).astype(np.int64)


def _base64(numbers: np.ndarray, kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(numbers, kind).tobytes()).decode()
