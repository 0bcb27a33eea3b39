"""The page in a browser: no messages, no overflow, light and dark."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from recbole_missrec.report.write import write_report
from tests.browser import Page, browser
from tests.report.folders import NASTY, planned, write_comparison, write_plan, write_run

LIGHT = ["rgb(252, 251, 248)", "rgb(29, 28, 26)"]
DARK = ["rgb(23, 22, 20)", "rgb(233, 229, 220)"]
MEASURES = """[document.documentElement.clientWidth, document.documentElement.scrollWidth,
    getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with names that are long and hostile."""
    out = tmp_path_factory.mktemp("comparison")
    write_comparison(out)
    long = planned("MISSRec:" + "long_" * 20, 1, "e1", "another" * 12)
    write_run(out, long, [0, 1, 2], config={NASTY: "x" * 200}, versions={"long": "y" * 300})
    other = planned("SASRec", 1, "f1", "another" * 12)
    write_run(out, other, [0, 9, 20])
    missing = planned("SASRec", 2, "f2", "another" * 12)
    error = '{"label": "SASRec", "model": "SASRec", "dataset": "%s", "seed": 2, "error": "%s"}'
    (out / "f2.error.json").write_text(error % ("another" * 12, "/a/path/" * 60))
    first = [planned("MISSRec", 1, "a1"), planned("SASRec", 1, "b1"), planned("GRU4Rec", 1, "d1")]
    write_plan(out, [*first, long, other, missing])
    return write_report(out)[0]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.mark.slow
def test_nothing_is_said_on_the_console(report: Path, page: Page) -> None:
    page.open(report)
    assert page.said() == []
    assert page.run("document.querySelectorAll('svg').length") > 20
    # and it would be: the policy of the page lets nothing in
    spoilt = report.with_name("spoilt.html")
    image = '<main id="content"><img src="http://localhost:1/x.png" alt="">'
    spoilt.write_text(report.read_text().replace('<main id="content">', image))
    page.open(spoilt)
    assert "violates the following Content Security Policy" in page.said()[0]


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_telephone_and_a_desk_in_light_and_dark(
    report: Path, page: Page, width: int, dark: bool
) -> None:
    page.open(report, width, dark=dark)
    assert page.run(MEASURES) == [width, width, *(DARK if dark else LIGHT)]
