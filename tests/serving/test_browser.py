"""The page in a browser: by mouse, by keys, on a telephone; titles are text."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import Page, browser
from tests.map.test_item_files import picture
from tests.serving.running import demo

pytestmark = pytest.mark.slow  # a browser and a server start


@pytest.fixture(scope="module")
def url(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("pictures")
    for item in ("i0", "i7"):
        picture(folder / f"{item}.jpg")
    words = f"--beside={trained / 'UniSRec.pth'}", f"--pictures={folder}"
    with demo(trained / "MISSRec.pth", *words) as (url, _):
        yield url


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


def until(page: Page, condition: str) -> None:
    """Wait for what the page asks its server for."""
    limit = time.monotonic() + 20
    while not page.run(condition):
        assert time.monotonic() < limit, condition
        time.sleep(0.02)


def start(page: Page, url: str, width: int = 1280) -> None:
    page.open(url, width)
    until(page, "document.querySelectorAll('.recommended li').length === 20")


def listed(page: Page, selector: str) -> list[str]:
    return page.run(f"[...document.querySelectorAll('{selector} .title')].map(e => e.textContent)")


def search(page: Page, words: str, found: int) -> None:
    page.run("byId('words').focus()")
    for letter in words:
        page.press(letter)
    until(page, f"document.querySelectorAll('#found li').length === {found}")


def test_a_history_changes_what_is_recommended(page: Page, url: str) -> None:
    start(page, url)
    popular = listed(page, ".model:first-child .recommended")
    assert "the items with the most interactions" in page.run("document.body.innerText")
    search(page, "title 7", 1)
    page.run("document.querySelector('#found button').click()")
    until(page, "byId('status').textContent.startsWith('Title 7 is added')")
    assert listed(page, "#history") == ["Title 7"]
    first = listed(page, ".model:first-child .recommended")
    assert first != popular and len(first) == 10
    assert "of both models" in page.run("byId('status').textContent")
    # MISSRec says why, UniSRec has a score alone
    why = page.run("[...document.querySelectorAll('.parts')].map(e => e.innerText)")
    assert all("weight" in text for text in why[:10])
    assert not any("weight" in text for text in why[10:])
    looked = page.run("[...document.querySelectorAll('.reading')].map(e => e.innerText)")
    assert "Attention to the items of the history" in looked[0] and "100 %" in looked[0]
    assert looked[1] == ""
    page.run("byId('exclude').click()")
    until(page, "byId('status').textContent.startsWith('The choice')")
    assert "Title 7" not in listed(page, ".recommended")
    assert page.said() == []


def test_titles_are_text(page: Page, url: str) -> None:
    start(page, url)
    search(page, "<img", 1)
    assert listed(page, "#found") == ["<img src=x onerror='window.hit = 1'>"]
    page.run("document.querySelector('#found button').click()")
    until(page, "document.querySelectorAll('#history li').length === 1")
    assert page.run("window.hit === undefined")
    loaded = "[...document.images].map(e => new URL(e.src).pathname)"
    assert set(page.run(loaded)) == {"/api/picture"}
    until(page, "[...document.images].every(image => image.naturalWidth > 0)")
    assert page.said() == []


def test_the_page_by_keys(page: Page, url: str) -> None:
    start(page, url)
    search(page, "title 9", 1)
    page.press("Enter")  # to the first that is found
    focused = "document.activeElement.getAttribute('aria-label')"
    assert page.run(focused) == "Add Title 9"
    page.press("Enter")
    until(page, "document.querySelectorAll('#history li').length === 1")
    page.press("Tab")
    assert page.run(focused) == "Remove Title 9"
    page.press("Enter")
    until(page, "byId('status').textContent.startsWith('Title 9 is removed')")
    assert page.run("document.activeElement.id") == "words"
    assert page.run("byId('clear').hidden && !byId('empty').hidden")


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_telephone_and_a_desk(page: Page, url: str, width: int, dark: bool) -> None:
    start(page, url, width)
    page.call(
        "Emulation.setEmulatedMedia",
        features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}],
    )
    search(page, "<img", 1)
    page.run("document.querySelector('#found button').click()")
    until(page, "document.querySelectorAll('.reading table').length === 2")
    assert page.run("document.documentElement.scrollWidth") == width
    tops = page.run("sections.map(section => section.getBoundingClientRect().top)")
    assert (tops[0] == tops[1]) == (width == 1280)  # side by side where there is room
    small = (
        "[...document.querySelectorAll('button:not([hidden])')].filter(b => b.offsetHeight < 32)"
    )
    assert page.run(f"{small}.length") == 0  # large enough for a finger


def test_what_a_screen_reader_is_told(page: Page, url: str) -> None:
    start(page, url)
    search(page, "title 7", 1)
    tree = page.call("Accessibility.getFullAXTree")["nodes"]
    told = {
        (node["role"]["value"], node.get("name", {}).get("value", "").strip())
        for node in tree
        if not node["ignored"]
    }
    for role, name in (
        ("heading", "Recommendations"),
        ("searchbox", "Title or token"),
        ("list", "Items found"),
        ("button", "Add Title 7"),
        ("region", "History"),
        ("region", "MISSRec"),
        ("checkbox", "leave these out of the recommendations"),
    ):
        assert (role, name) in told, (role, name)
    assert {"status", "alert"} <= {role for role, _ in told}


def test_a_service_that_has_gone_is_said(page: Page, trained: Path) -> None:
    with demo(trained / "UniSRec.pth") as (url, _):
        page.open(url)
        until(page, "document.querySelectorAll('.recommended li').length === 10")
    page.run("byId('exclude').click()")
    until(page, "byId('failure').textContent.startsWith('This did not work: ')")
