"""What a page shows, made by hand, and what a page holds."""

import base64
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbole_missrec.map.attention import Attention
from recbole_missrec.map.page import MapContent, render
from recbole_missrec.map.readings import Reading

NASTY = "</script><script>window.hit = 1</script><img src=x onerror='window.hit = 2'> &amp; <!--"
RED = (  # a picture of one pixel
    "data:image/gif;base64,R0lGODlhAQABAIAAAP8AAAAAACwAAAAAAQABAAACAkQBADs="
)
# Points of four items: texts at the corners of a square, pictures inside, of which i4 has none.
POINTS = np.array([[[0, 0], [4, 0], [0, 4], [4, 4]], [[1, 1], [3, 1], [1, 3], [0, 0]]], float)
IDS = np.array([[0, 1, 0, 3], [1, 1, 0, -1]])  # interest 2 is of no token


def reading_of(user: str) -> Reading:
    """A user with one item, and the next."""
    return Reading(user, [4], 3, Attention(torch.ones(2, 1), torch.tensor([3]), torch.ones(2, 1)))


def content(**changed: Any) -> MapContent:
    """Four items, three interests in use, two users, two heads."""
    first = Attention(
        items=torch.tensor([[0.25, 0.5, 0.25], [0.75, 0.0, 0.25]]),
        interests=torch.tensor([0, 1]),
        shares=torch.tensor([[0.125, 0.875], [0.625, 0.375]]),
    )
    whole = MapContent(
        dataset="shop",
        origin="Trained by hand",
        plane="A square",
        modalities=["text", "image"],
        points=POINTS,
        ids=IDS,
        tokens=["i1", "i2", "i3", "i4"],
        titles=["Green tea", "Black tea", "Tin", ""],
        typical=np.array([[2, 0], [1, 0], [-1, -1], [3, -1]]),
        words=[["tin", "green"], ["tea"], [], []],
        pictures={0: RED, 2: RED},
        reading="item_queries",
        readings=[Reading("u1", [1, 2, 1], 4, first), reading_of("u2")],
    )
    return replace(whole, **changed)


def write(path: Path, **changed: Any) -> Path:
    """Write the page of it."""
    path.write_text(render(content(**changed)), encoding="utf-8")
    return path


def held(page: str) -> dict[str, Any]:
    """The data that a page holds, numbers unpacked."""
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    data = json.loads(text)
    for name, kind in (("x", "<u2"), ("y", "<u2"), ("interest", "<i4"), ("typical", "<i4")):
        data[name] = np.frombuffer(base64.b64decode(data[name]), kind).tolist()
    return data
