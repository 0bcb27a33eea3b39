"""The page in a browser, by mouse, touch and keys."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbole_missrec.map.page import render
from recbole_missrec.map.projection import pca
from recbole_missrec.map.typical import typical_items, typical_words
from tests.browser import Page, browser
from tests.map.content import NASTY, content, reading_of, write

pytestmark = pytest.mark.slow  # a browser starts
TEXT, IMAGE = 0, 4  # the first points of the modalities: point = modality * 4 + item
PAPER = [252, 251, 248, 255]
DARK = {"name": "prefers-color-scheme", "value": "dark"}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("pages") / "map.html")


def pixel(page: Page, point: int) -> list[int]:
    """Colour at a point of the map."""
    at = f"across({point}, scale()), down({point}, scale())"
    return page.run(f"[...pen.getImageData({at}, 1, 1).data]")


def place(page: Page, point: int) -> tuple[float, float]:
    """Where a point is on the screen; the map is brought there first."""
    page.run("canvas.scrollIntoView({block: 'center'})")
    page.settle()
    box = page.run("(({left, top}) => [left, top])(canvas.getBoundingClientRect())")
    at = page.run(f"[across({point}, scale()) / ratio(), down({point}, scale()) / ratio()]")
    return box[0] + at[0], box[1] + at[1]


def text(page: Page, selector: str) -> str:
    """What is to be read in an element, in one line."""
    return page.run(f"document.querySelector({selector!r}).innerText.split(/\\s+/).join(' ')")


def rows(page: Page, body: str) -> list[list[str]]:
    """Cells of a table."""
    return page.run(
        f"[...document.querySelectorAll('#{body} tr')].map(row => "
        "[...row.cells].map(cell => cell.innerText.split(/\\s+/).join(' ')))"
    )


def choose(page: Page, control: str, value: Any) -> None:
    """Give a control a value, as its user would."""
    page.run(f"byId('{control}').value = {str(value)!r}")
    page.run(f"byId('{control}').dispatchEvent(new Event('change'))")
    page.settle()


# --- the map -------------------------------------------------------------------------------------


def test_nothing_is_said_on_the_console(plain: Path, page: Page) -> None:
    page.open(plain)
    assert page.said() == []
    assert page.run("document.title") == "Interests of shop"
    # and a script that gets into the page does not run
    spoilt = plain.with_name("spoilt.html")
    script = '<main id="content"><script>window.hit = 1</script>'
    spoilt.write_text(plain.read_text().replace('<main id="content">', script))
    page.open(spoilt)
    assert "violates the following Content Security Policy" in page.said()[0]
    assert page.run("window.hit === undefined && items === 4")


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_telephone_and_a_desk_in_light_and_dark(
    plain: Path, page: Page, width: int, dark: bool
) -> None:
    long = write(plain.with_name("long.html"), titles=["w" * 99] * 4, words=[["v" * 200]] * 4)
    for file in (plain, long):
        page.open(file, width, dark=dark)
        assert page.run("document.documentElement.scrollWidth") == width
        # nor is there anything to scroll to within a table
        fits = "part => part.scrollWidth <= part.clientWidth"
        assert page.run(f"[...document.querySelectorAll('.scroll')].every({fits})")
    page.open(plain, width, dark=dark)
    paper = page.run("[...pen.getImageData(0, 0, 1, 1).data]")
    assert (paper == PAPER) != dark
    assert pixel(page, TEXT) != paper


def test_colours_are_of_interests(plain: Path, page: Page) -> None:
    page.open(plain)
    colours = [pixel(page, point) for point in range(7)]
    assert colours[0] == colours[2] == colours[6]  # interest 0
    assert colours[1] == colours[4] == colours[5]  # interest 1
    assert len({tuple(colour) for colour in [*colours, PAPER]}) == 4
    page.call("Emulation.setEmulatedMedia", features=[DARK])
    page.settle()
    assert pixel(page, TEXT) not in [*colours, PAPER]


def test_a_modality_is_left_out(plain: Path, page: Page) -> None:
    page.open(plain)
    seen = pixel(page, IMAGE)
    page.run("document.querySelectorAll('[name=modality]')[1].click()")
    page.settle()
    assert pixel(page, IMAGE) == PAPER
    page.point(*place(page, IMAGE))  # there is nothing to point at
    assert "Green tea" not in text(page, "#point")
    page.run("document.querySelectorAll('[name=modality]')[1].click()")
    page.settle()
    assert pixel(page, IMAGE) == seen


def test_boxes_say_what_is_drawn_after_a_visit_elsewhere(plain: Path, page: Page) -> None:
    page.open(plain)
    page.run("document.querySelectorAll('[name=modality]')[1].click()")
    page.open("about:blank")
    page.go_back()
    assert page.run("document.querySelectorAll('[name=modality]')[1].checked") == (
        pixel(page, IMAGE) != PAPER
    )


def test_the_mouse_shows_an_item_and_its_interest_alone(plain: Path, page: Page) -> None:
    page.open(plain)
    colours = [pixel(page, point) for point in range(7)]
    page.point(*place(page, TEXT + 2))
    assert text(page, "#point") == (
        "Tin i3 text (this point): interest 0 of 3 tokens: tin green "
        "image: interest 0 of 3 tokens: tin green"
    )
    assert page.run("document.querySelector('#point img').naturalWidth") == 1
    page.point(*place(page, TEXT + 3))
    assert text(page, "#point") == "i4 text (this point): interest 3 of 1 token image: absent"
    assert page.run("document.querySelector('#point img')") is None

    page.point(*place(page, IMAGE + 1), click=True)
    assert page.run("byId('search').value") == "1"
    now = [pixel(page, point) for point in range(7)]
    assert [now[point] for point in (1, 4)] == [colours[1]] * 2  # around the fifth is a ring
    (faint,) = {tuple(now[point]) for point in (0, 2, 3, 6)}
    assert list(faint) not in [*colours, PAPER]
    assert [row[0] for row in rows(page, "interests")] == ["interest 1"]
    page.point(*place(page, TEXT + 2))  # what is not found is not pointed at
    assert "Black tea" in text(page, "#point")
    page.point(*place(page, IMAGE + 1), click=True)
    assert page.run("byId('search').value") == ""
    assert [pixel(page, point) for point in range(5)] == colours[:5]


def test_keys_go_from_point_to_point(plain: Path, page: Page) -> None:
    page.open(plain)
    page.run("canvas.focus()")
    page.run("show(0)")
    visited = []
    for key in ("ArrowRight", "ArrowUp", "ArrowLeft", "ArrowLeft", "ArrowUp"):
        page.press(key)
        visited.append(page.run("state.point"))
    # from the corner (0, 0) to (1, 1) and (1, 3), and to the corner (0, 4), where the map ends
    assert visited == [IMAGE, IMAGE + 2, TEXT + 2, TEXT + 2, TEXT + 2]
    page.press("Enter")
    assert page.run("byId('search').value") == "0"
    page.press("Escape")
    assert page.run("byId('search').value") == ""
    page.press("+")
    assert page.run("view.zoom") == 1.5
    page.press("-")
    page.press("0")
    assert page.run("[view.zoom, view.x, view.y]") == [1, 32767.5, 32767.5]


def test_zooming_keeps_what_is_under_the_mouse(plain: Path, page: Page) -> None:
    page.open(plain)
    before = place(page, TEXT + 3)
    x, y = map(round, before)
    wheel = {"type": "mouseWheel", "x": x, "y": y, "deltaX": 0}
    page.call("Input.dispatchMouseEvent", **wheel, deltaY=-300, modifiers=2)
    page.settle()
    assert page.run("view.zoom") == pytest.approx(np.e)
    after = place(page, TEXT + 3)
    assert after[0] - x == pytest.approx(np.e * (before[0] - x), abs=0.1)
    assert after[1] - y == pytest.approx(np.e * (before[1] - y), abs=0.1)
    page.call("Input.dispatchMouseEvent", **wheel, deltaY=200)
    page.settle()
    assert page.run("view.zoom") == pytest.approx(np.e)  # without Ctrl the page scrolls


def test_dragging_moves_the_map(plain: Path, page: Page) -> None:
    page.open(plain)
    before = place(page, TEXT)
    x, y = map(round, before)
    moves = (("mousePressed", 0), ("mouseMoved", 30), ("mouseMoved", 50), ("mouseReleased", 50))
    for kind, by in moves:
        button = {"button": "left", "clickCount": 1}
        page.call("Input.dispatchMouseEvent", **button, type=kind, x=x + by, y=y - by)
    page.settle()
    assert place(page, TEXT) == pytest.approx((before[0] + 50, before[1] - 50), abs=0.1)
    assert page.run("byId('search').value") == ""  # a drag is no click


def test_touch_shows_an_item(plain: Path, page: Page) -> None:
    page.open(plain, 390, 844)
    x, y = place(page, TEXT + 2)
    page.tap(x + 15, y - 10)  # a finger is broad
    assert "Tin i3" in text(page, "#point")
    assert page.run("byId('search').value") == ""
    page.run("document.querySelector('#point button').click()")
    assert page.run("byId('search').value") == "0"


def test_two_fingers_zoom(plain: Path, page: Page) -> None:
    page.open(plain, 390, 844)
    x, y = place(page, TEXT + 2)
    page.pinch(x + 100, y, before=30, after=60)
    assert page.run("view.zoom") == pytest.approx(2, rel=0.01)
    assert place(page, TEXT + 2) == pytest.approx((x - 100, y), abs=1)  # now 200 from the fingers
    assert "Tin i3" not in text(page, "#point")


# --- tables --------------------------------------------------------------------------------------


def test_the_table_of_interests(plain: Path, page: Page) -> None:
    page.open(plain)
    by_size = [
        ["interest 0", "3 text 2 image 1", "tin green Tin Green tea"],
        ["interest 1", "3 text 1 image 2", "tea Black tea Green tea"],
        ["interest 3", "1 text 1 image 0", "i4"],
    ]
    assert rows(page, "interests") == by_size
    assert text(page, "#listed") == "3 of 3 interests"
    assert page.run("byId('more').hidden")
    assert page.run("document.querySelectorAll('#interests img').length") == 3
    choose(page, "order", "number")
    assert [row[0] for row in rows(page, "interests")] == ["interest 0", "interest 1", "interest 3"]


@pytest.mark.parametrize(
    ("typed", "found"),
    [("TEA", [0, 1]), ("tin", [0]), ("3", [3]), ("2", []), ("no", []), ("", [0, 1, 3])],
)
def test_a_search(plain: Path, page: Page, typed: str, found: list[int]) -> None:
    page.open(plain)
    page.run("byId('search').focus()")
    for letter in typed:
        page.press(letter)
    assert page.run("byId('search').value") == typed
    assert [row[0] for row in rows(page, "interests")] == [f"interest {id}" for id in found]


def test_the_focus_stays_with_the_interest(plain: Path, page: Page) -> None:
    page.open(plain)
    page.run("document.querySelectorAll('#interests button')[1].focus()")
    page.press("Enter")
    focused = "[document.activeElement.innerText.trim(), document.activeElement.ariaPressed]"
    assert page.run("document.querySelectorAll('#interests tr').length") == 1
    assert page.run(focused)[0].endswith("1") and page.run(focused)[1] == "true"
    page.press("Enter")
    assert page.run("document.querySelectorAll('#interests tr').length") == 3
    assert page.run(focused)[0].endswith("1") and page.run(focused)[1] == "false"


def test_a_history_and_its_attention(plain: Path, page: Page) -> None:
    page.open(plain)
    assert rows(page, "history") == [
        ["1", "Green tea text: interest 0 image: interest 1", "50.0 %"],
        ["2", "Black tea text: interest 1 image: interest 1", "25.0 %"],
        ["3", "Green tea text: interest 0 image: interest 1", "25.0 %"],
        ["next", "i4 text: interest 3 image: absent", "not read"],
    ]
    assert rows(page, "read") == [
        ["interest 1", "tea", "62.5 %"],
        ["interest 0", "tin green", "37.5 %"],
    ]
    bars = "[...document.querySelectorAll('#history .bar')].map(bar => bar.style.width)"
    assert page.run(bars) == ["100%", "50%", "50%"]
    choose(page, "head", 1)
    assert [row[2] for row in rows(page, "history")] == ["75.0 %", "0.0 %", "25.0 %", "not read"]
    choose(page, "user", 1)
    assert [row[1][:2] for row in rows(page, "history")] == ["i4", "Ti"]
    assert rows(page, "read") == [["interest 3", "i4", "100.0 %"]]
    assert text(page, "#marked-user") == "u2"


def test_a_history_is_marked_on_the_map(plain: Path, page: Page) -> None:
    page.open(plain)
    before = page.run("[...pen.getImageData(0, 0, size.width, size.height).data]")
    page.run("byId('marked').click()")
    page.settle()
    after = page.run("[...pen.getImageData(0, 0, size.width, size.height).data]")
    assert before != after
    between = "(across(0, scale()) + across(1, scale())) / 2, down(0, scale())"
    ink = page.run(f"[...pen.getImageData({between}, 1, 1).data]")
    assert max(ink[:3]) < 240  # the line from item to item


# --- others' text, and who cannot see ------------------------------------------------------------


def test_titles_are_text(plain: Path, page: Page) -> None:
    hostile = content(
        dataset=NASTY,
        tokens=[f"{NASTY}{item}" for item in range(4)],
        titles=[NASTY] * 4,
        words=[[NASTY]] * 4,
        pictures={},
        readings=[reading_of(NASTY)],
    )
    path = plain.with_name("hostile.html")
    path.write_text(render(hostile), encoding="utf-8")
    page.open(path)
    page.point(*place(page, TEXT))
    assert page.said() == []
    assert page.run("window.hit") is None
    assert page.run("document.querySelectorAll('img').length") == 0
    assert page.run("document.scripts.length") == 2
    assert page.run("document.querySelector('#point .title').textContent") == NASTY
    assert page.run("document.querySelector('#history .title').textContent") == NASTY
    assert page.run("document.querySelector('#interests .words').textContent") == NASTY
    assert page.run("document.querySelector('#user option').textContent") == NASTY
    assert page.run("document.querySelector('h1').textContent") == f"Interests of {NASTY}"


def test_it_reads_aloud(plain: Path, page: Page) -> None:
    page.open(plain)
    page.call("Accessibility.enable")
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    names: dict[str, list[str]] = {}
    for node in nodes:
        if not node["ignored"]:
            name = node.get("name", {}).get("value", "")
            names.setdefault(node["role"]["value"], []).append(name)
    assert names["application"] == ["Map of 7 item tokens, coloured by interest"]
    assert names["heading"] == ["Interests of shop", "Map", "Interests", "A user’s history"]
    assert sorted(names["checkbox"]) == ["image", "mark the history of u1", "text"]
    assert names["searchbox"] == ["Interests"]
    assert names["combobox"] == ["Sorted by", "User", "Attention of"]
    assert len(names["table"]) == 3 and all(names["table"])
    assert {"Closer", "Farther", "Whole map", "interest 0"} <= set(names["button"])
    assert all(names["button"])
    assert names["rowheader"][:3] == ["interest 0", "interest 1", "interest 3"]
    described = page.run("byId(canvas.getAttribute('aria-describedby')).innerText")
    assert "Arrow keys go from point to point" in described
    page.run("document.querySelector('.skip').focus()")
    stops = []
    for _ in range(8):
        page.press("Tab")
        stops.append(page.run("document.activeElement.id || document.activeElement.innerText"))
    assert stops == [
        "Map", "Interests", "A user’s history", "", "", "search", "marked", "closer"
    ]  # fmt: skip


# --- large ---------------------------------------------------------------------------------------


def test_fifty_thousand_items(tmp_path: Path, page: Page) -> None:
    items, interests, dim = 50_000, 50_000, 16
    rng = np.random.default_rng(0)
    centroids = rng.normal(size=(interests, dim)).astype(np.float32)
    ids = rng.integers(interests, size=(2, items))
    vectors = centroids[ids] + rng.normal(size=(2, items, dim)).astype(np.float32) / 2
    names = np.array([f"word{letter}{other}" for letter in "abcdefghij" for other in "klmnopqrst"])
    titles = [" ".join(row) for row in names[rng.integers(100, size=(items, 12))]]
    large = content(
        points=pca(vectors.reshape(-1, dim), 0).points.reshape(2, items, 2),
        ids=ids,
        tokens=[f"B{item:09}" for item in range(items)],
        titles=titles,
        typical=typical_items(vectors, ids, centroids, 4),
        words=typical_words(titles, ids, interests, 5),
        pictures={},
    )
    path = tmp_path / "large.html"
    path.write_text(render(large), encoding="utf-8")
    assert path.stat().st_size < 12 * 2**20

    page.open(path)

    assert page.said() == []
    assert text(page, ".summary").startswith("50,000 items, 100,000 tokens (50,000 text, 50,000 im")
    used = len(np.unique(ids))
    assert text(page, "#listed") == f"25 of {used:,} interests"
    page.run("byId('more').click()")
    assert len(rows(page, "interests")) == 50
    inked = """(data => { let count = 0;
        for (let at = 0; at < data.length; at += 4) count += data[at] !== 252;
        return count; })(pen.getImageData(0, 0, size.width, size.height).data)"""
    drawn = page.run(inked)
    assert drawn > 50_000  # pixels, of some 430,000
    point = 60_001
    page.run(f"search('{ids[1, 10_001]}')")
    page.settle()
    page.point(*place(page, point))
    assert page.run("interestOf[state.point]") == ids[1, 10_001]
    assert text(page, "#point .title") in titles
    assert [row[0] for row in rows(page, "interests")] == [f"interest {ids[1, 10_001]}"]
