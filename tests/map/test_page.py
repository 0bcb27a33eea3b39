"""What the page holds, as text."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from recbole_missrec.map.page import STEPS, TITLE, quantise, render
from tests.map.content import NASTY, content, held, reading_of


class Scripts(HTMLParser):
    """Elements of a page and the texts of its scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))


def test_points_on_a_grid() -> None:
    points = np.array([[[10.0, 5], [14, 5], [99, 99]], [[10, 7], [12, 6], [11, 6]]])
    present = np.array([[True, True, False], [True, True, True]])
    x, y = quantise(points, present)
    assert x.tolist() == [[0, STEPS, 0], [0, (STEPS + 1) // 2, round(STEPS / 4)]]
    assert y.tolist() == [[0, 0, 0], [(STEPS + 1) // 2, round(STEPS / 4), round(STEPS / 4)]]


def test_points_that_lie_on_each_other() -> None:
    assert quantise(np.full((1, 2, 2), 7.0), np.ones((1, 2), bool)).tolist() == [[[0, 0]]] * 2


def test_what_is_packed() -> None:
    data = held(render(content()))
    near, far = round(STEPS / 4), round(3 * STEPS / 4)
    assert data["x"] == [0, STEPS, 0, STEPS, near, far, near, 0]
    assert data["y"] == [0, 0, STEPS, STEPS, near, near, far, 0]
    assert data["interest"] == [0, 1, 0, 3, 1, 1, 0, -1]
    assert data["typical"] == [2, 0, 1, 0, -1, -1, 3, -1]
    assert data["words"] == ["tin green", "tea", "", ""]
    assert data["titles"] == ["Green tea", "Black tea", "Tin", ""]
    assert list(data["pictures"]) == ["0", "2"]
    assert data["users"][0] == {
        "user": "u1",
        "items": [0, 1, 0],
        "target": 3,
        "interests": [0, 1],
        "toItems": [[0.25, 0.5, 0.25], [0.75, 0.0, 0.25]],
        "toInterests": [[0.125, 0.875], [0.625, 0.375]],
    }
    assert held(render(content(titles=[""] * 4)))["titles"] is None


def test_a_long_title_is_cut() -> None:
    titles = ["x" * TITLE, "y" * (TITLE + 1), "", ""]
    shown = held(render(content(titles=titles)))["titles"]
    assert shown[:2] == ["x" * TITLE, "y" * (TITLE - 1) + "…"]


def test_text_of_others_is_no_markup() -> None:
    hostile = content(
        dataset=NASTY,
        tokens=[f"{NASTY}{item}" for item in range(4)],
        titles=[NASTY[: TITLE - 1]] * 4,
        words=[[NASTY]] * 4,
        readings=[reading_of(NASTY)],
    )
    page = render(hostile)
    plain = Scripts(render(content(readings=[reading_of("u")])))
    assert Scripts(page).elements == plain.elements
    assert held(page)["tokens"][3] == f"{NASTY}3"


def test_the_page_needs_nothing_else() -> None:
    page = render(content())
    elements = Scripts(page).elements
    tags = {tag for tag, _ in elements}
    assert not tags & {"link", "iframe", "object", "image", "font"}
    addresses = [
        value
        for _, attributes in elements
        for name, value in attributes.items()
        if name in ("src", "href", "action", "srcset", "data")
    ]
    assert addresses and all(str(value).startswith("#") for value in addresses)
    scripts = [attributes for tag, attributes in elements if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "data"}, {}]
    assert not re.search(r"\b(fetch|XMLHttpRequest|WebSocket|import|innerHTML|eval)\b", page)
    policy = [attributes for _, attributes in elements if "http-equiv" in attributes]
    assert re.fullmatch(
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        r"script-src 'sha256-[\w+/]{43}='",
        str(policy[0]["content"]),
    )


@pytest.mark.parametrize(
    ("reading", "said"),
    [
        ("item_queries", "decoder looks: self-attention of the last item to the items, and its"),
        ("interest_queries", "decoder looks: cross-attention of the interests to the items, and"),
        ("no_decoder", "encoder looks: self-attention of the last item to the items, and to the"),
    ],
)
def test_it_is_said_who_attends(reading: str, said: str) -> None:
    assert said in render(content(reading=reading))


def test_the_same_content_gives_the_same_bytes() -> None:
    assert render(content()) == render(content())
