"""Tables as Markdown, CSV and LaTeX, cell by cell; what others wrote is shown as it is."""

import csv
import io
import re

import pytest

from recbole_missrec.report.table import Cell, Table
from recbole_missrec.report.writers import (
    comma_separated,
    escape_latex,
    escape_markdown,
    latex,
    markdown,
)
from tests.report.folders import NASTY

TABLE = Table(
    "shop-accuracy",
    "shop: accuracy",
    ["model", "R@10", "note"],
    [
        [Cell("A_b"), Cell(".9000", "±.1414", "best"), Cell("cut…", full="cut, whole")],
        [Cell("[B]"), Cell(".5000", place="second", p_value=0.04), Cell("–")],
        [Cell("C"), Cell(".0000", p_value=0.0059), Cell("x|y")],
    ],
    ("A note: 5 % & more.",),
)


def test_markdown() -> None:
    assert markdown(TABLE) == (
        "**shop: accuracy**\n\n"
        "| model | R@10 | note |\n"
        "| --- | ---: | --- |\n"
        "| A\\_b | **.9000** 1st ±.1414 | cut… |\n"
        "| \\[B\\] | <ins>.5000</ins>\\* 2nd | – |\n"
        "| C | .0000\\*\\* | x\\|y |\n\n"
        "A note: 5 % &amp; more.\n"
    )


def test_latex() -> None:
    assert latex(TABLE) == (
        "\\begin{table}\n\\centering\n"
        "\\caption{shop: accuracy. A note: 5 \\% \\& more.}\n"
        "\\begin{tabular}{lrl}\n\\toprule\n"
        "model & R@10 & note \\\\\n\\midrule\n"
        "A\\_b & \\textbf{.9000} $\\pm$.1414 & cut\\dots{} \\\\\n"
        "{[}B{]} & \\underline{.5000}$^{*}$ & -- \\\\\n"
        "C & .0000$^{**}$ & x\\textbar{}y \\\\\n"
        "\\bottomrule\n\\end{tabular}\n\\end{table}\n"
    )


def test_csv() -> None:
    assert comma_separated(TABLE) == (
        "model,R@10,R@10 spread,R@10 place,R@10 p,note\n"
        'A_b,.9000,.1414,best,,"cut, whole"\n'
        "[B],.5000,,second,0.0400,\n"
        "C,.0000,,,0.0059,x|y\n"
    )


@pytest.mark.parametrize("text", [NASTY, "a\nb", "\\\\", "}{", "*bold* _it_ `code` [l](u) #1 ~x~"])
def test_foreign_text_breaks_no_table(text: str) -> None:
    table = Table("t", text, ["model", text], [[Cell(text), Cell(text, "±.1", "best")]])

    of_markdown = markdown(table).splitlines()[2:]
    assert [len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in of_markdown] == [3, 3, 3]
    assert "<script" not in markdown(table)

    of_latex = latex(table)
    bare = re.sub(r"\\[\\&%$#_{}]", "", of_latex.replace(r"\\" + "\n", "\n"))
    assert not re.search(r"(?<!\\)[%#~^<>|_]", bare)
    depth = 0
    for sign in bare:
        depth += {"{": 1, "}": -1}.get(sign, 0)
        assert depth >= 0
    assert depth == 0
    rows = [line for line in bare.splitlines() if "&" in line]
    assert [line.count("&") for line in rows] == [1, 1]
    assert re.findall(r"\\begin\{(\w+)}", bare) == re.findall(r"\\end\{(\w+)}", bare)[::-1]

    found = list(csv.reader(io.StringIO(comma_separated(table))))
    assert found[1][:2] == [text, text]


def test_escapes() -> None:
    assert escape_markdown("<b> & a_b | \\ #1\nx") == "&lt;b&gt; &amp; a\\_b \\| \\\\ \\#1 x"
    assert escape_latex("50 % of $x_1 & {#2} \\~^<>|") == (
        r"50 \% of \$x\_1 \& \{\#2\} \textbackslash{}\textasciitilde{}\textasciicircum{}"
        r"\textless{}\textgreater{}\textbar{}"
    )
