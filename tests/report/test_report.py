"""The files of a report: which there are, what is in them, the same bytes each time."""

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from recbole_missrec.cli import main
from recbole_missrec.report.write import write_report
from tests.report.folders import NASTY, planned, write_comparison, write_plan, write_run

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Reading(HTMLParser):
    """Elements of a page with their attributes, its text, and tags that are not closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("comparison")
    write_comparison(folder)
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def page(out: Path) -> Reading:
    return Reading((out / "report.html").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_which_files_there_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_comparison(tmp_path)
    assert main(["report", str(tmp_path)]) == 0
    names = [
        "unfinished", "shop-accuracy", "shop-improvement", "shop-intervals", "shop-curves",
        "shop-cost", "shop-by-popularity", "shop-by-length", "shop-by-modalities",
        "shop-beyond-accuracy", "shop-options", "environment",
    ]  # fmt: skip
    files = [f"tables/{name}.{kind}" for name in names for kind in ("csv", "tex")]
    written = [tmp_path / name for name in ["report.html", "report.md", *files]]
    assert capsys.readouterr().out.splitlines() == [str(path) for path in written]
    assert all(path.is_file() for path in written)
    assert not list(tmp_path.rglob("*.tmp"))
    before = [path.read_bytes() for path in written]
    assert main(["report", str(tmp_path)]) == 0
    assert [path.read_bytes() for path in written] == before


def test_bad_input_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path)]) == 2
    expected = f"{tmp_path / 'plan.json'}: cannot be read: No such file or directory\n"
    assert capsys.readouterr().err == f"recbole-missrec: {expected}"


def test_what_failed_is_named(out: Path, page: Reading) -> None:
    with (out / "tables" / "unfinished.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[1:] == [
        ["GRU4Rec", "shop", "1", f"recbole-missrec: --hidden_size=7: {NASTY}"],
        ["GRU4Rec", "shop", "2", "not run yet"],
    ]
    assert f"recbole-missrec: --hidden_size=7: {NASTY}" in page.texts
    assert "not run yet" in page.texts
    assert "| GRU4Rec | shop | 2 | not run yet |" in (out / "report.md").read_text()


def test_the_page_is_well_formed_and_needs_nothing_else(page: Reading) -> None:
    assert page.open == []
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "img", "iframe", "object", "image", "font"}
    references = [
        value
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in ("src", "href", "xlink:href", "data", "action", "srcset")
    ]
    assert references and all(str(value).startswith("#") for value in references)
    policy = [meta for meta in page.all("meta") if "http-equiv" in meta]
    assert policy[0]["content"] == "default-src 'none'; style-src 'unsafe-inline'"
    style = "".join(page.texts)
    assert "@import" not in style and not re.search(r"url\((?!#)", style)


def test_the_page_reads_aloud(page: Reading) -> None:
    assert page.all("html")[0] == {"lang": "en"}
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))
    assert len(page.all("caption")) == len(page.all("table")) >= 10
    assert {head["scope"] for head in page.all("th")} == {"row", "col"}
    pictures = [div for div in page.all("div") if div.get("role") == "img"]
    assert len(pictures) == len(page.all("svg")) == 5 + 3 + 3 + 4
    assert all(len(str(div["aria-label"])) > 20 for div in pictures)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {f"#{id}" for id in ids}
    assert {str(link["href"]) for link in page.all("a")} <= targets
    assert {str(use["xlink:href"]) for use in page.all("use")} <= targets


def test_figures_take_the_colours_of_the_page(out: Path) -> None:
    drawn = "".join(re.findall("<svg.*?</svg>", (out / "report.html").read_text(), re.S))
    assert set(re.findall(r"#[0-9a-fA-F]{6}\b", drawn)) == set()
    for colour in ("currentColor", "var(--accent)", "var(--muted)", "var(--rule)"):
        assert colour in drawn


def test_figures_say_their_numbers(page: Reading) -> None:
    said = [str(div["aria-label"]) for div in page.all("div") if div.get("role") == "img"]
    assert said[0] == (
        "Bars of R@10 with 95 % intervals: MISSRec .9000 [.7500, 1.0000]; "
        "SASRec .5000 [.2000, .8000]; Pop .0000 [.0000, .0000]."
    )
    assert (
        "Lines of N@10 on validation by seconds, one a run: MISSRec reaches .2500; "
        "SASRec reaches .2500."
    ) in said
    assert (
        "Points of N@10 against trained parameters: MISSRec .9000 at 1,000; "
        "SASRec .5000 at 50,000; Pop .0000 at 1,000."
    ) in said


def test_names_of_others_are_shown_as_they_are(tmp_path: Path) -> None:
    label, dataset = f"_$a$:{NASTY}", "../<b>_&"
    plan = [planned(label, 1, "a1", dataset), planned("SASRec", 1, "b1", dataset)]
    write_plan(tmp_path, plan)
    write_run(tmp_path, plan[0], [0] * 10, config={NASTY: NASTY * 2})
    write_run(tmp_path, plan[1], [9] * 10)

    written = write_report(tmp_path)

    assert {path.parent for path in written} == {tmp_path, tmp_path / "tables"}
    page = Reading((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert page.open == []
    assert not page.all("script") and not page.all("b")
    assert page.texts.count(label) >= 5
    assert any(cell.get("title") == NASTY * 2 for cell in page.all("td"))
    drawn = re.sub("<!--.*?-->", "", (tmp_path / "report.html").read_text(), flags=re.S)
    in_figures = re.findall("<svg.*?</svg>", drawn, re.S)
    assert sum("_$a$:&lt;script&gt;" in figure for figure in in_figures) >= 6
    assert "<script" not in (tmp_path / "report.md").read_text()


def test_a_plan_of_which_nothing_has_run(tmp_path: Path) -> None:
    write_plan(tmp_path, [planned("Pop", 1, "c1")])
    written = write_report(tmp_path)
    assert [path.name for path in written] == [
        "report.html", "report.md", "unfinished.csv", "unfinished.tex"
    ]  # fmt: skip
    assert "not run yet" in written[0].read_text()
    write_run(tmp_path, planned("Pop", 1, "c1"), [0, 3, 20])
    write_report(tmp_path)
    assert not list(tmp_path.glob("tables/unfinished.*"))


def test_one_run_alone(tmp_path: Path) -> None:
    write_plan(tmp_path, [planned("Pop", 1, "c1")])
    write_run(tmp_path, planned("Pop", 1, "c1"), [0, 3, 20])
    write_report(tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "| Pop | 1 | .6667 | .4769 | 1.0000 | .5516 | .4167 |" in text
    assert "3 users ranked, 40 items, 99 interactions, 1 model, seed 1." in text
    assert json.loads((tmp_path / "c1.json").read_text())["label"] == "Pop"
