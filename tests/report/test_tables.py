"""What stands in the tables of a comparison made by hand."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from recbole_missrec.report import figures, run_tables, tables
from recbole_missrec.report.published import published
from recbole_missrec.report.results import Run, read_results
from recbole_missrec.report.study import METRICS, Study, studies
from recbole_missrec.report.table import Cell, Table, cut, number, places
from tests.report.folders import planned, write_comparison, write_plan, write_run


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    out = tmp_path_factory.mktemp("comparison")
    write_comparison(out)
    return studies(read_results(out)[0])[0]


def texts(table: Table) -> list[list[str]]:
    return [[f"{cell.text} {cell.spread}".strip() for cell in row] for row in table.rows]


def test_numbers() -> None:
    values = [0.12345, 0, 1, 12.5, -0.00001, -0.5, 0.99999, None, float("nan")]
    assert [number(value) for value in values] == [
        ".1235", ".0000", "1.0000", "12.5000", ".0000", "-.5000", "1.0000", "–", "–"
    ]  # fmt: skip


def test_places_follow_what_is_shown() -> None:
    assert places([0.3, 0.1, 0.2]) == ["best", "", "second"]
    assert places([0.30001, 0.30004, 0.2, 0.2, 0.1]) == ["best", "best", "second", "second", ""]
    assert places([0.3, 0.3]) == ["best", "best"]
    assert places([0.3]) == [""]


def test_long_texts_keep_all() -> None:
    assert cut("short") == Cell("short")
    assert cut("a long one", 6) == Cell("a lon…", full="a long one")


def test_accuracy(study: Study) -> None:
    table = tables.accuracy(study)

    assert table.columns == ["model", "seeds", "R@10", "N@10", "R@50", "N@50", "MRR@10"]
    # what is missed is at rank 21: a gain of 1 / log2(22) = .2242 in N@50
    assert texts(table) == [
        ["MISSRec", "2", ".9000 ±.1414", ".9000 ±.1414", "1.0000 ±.0000", ".9224 ±.1097",
         ".9000 ±.1414"],
        ["SASRec", "1", ".5000", ".5000", "1.0000", ".6121", ".5000"],
        ["Pop", "1", ".0000", ".0000", "1.0000", ".2242", ".0000"],
    ]  # fmt: skip
    by_metric = [[row[column].place for row in table.rows] for column in range(2, 7)]
    assert by_metric[0] == by_metric[1] == by_metric[3] == by_metric[4] == ["best", "second", ""]
    assert by_metric[2] == ["best", "best", "best"]


def test_stars_are_of_the_best_against_each_other_row(study: Study) -> None:
    """Signs of 5 and of 10 differences: p = 2 / 32 and 2 / 1024, of three tests; in R@50 none."""
    rows = tables.accuracy(study).rows
    p_values = [[row[column].p_value for row in rows] for column in (2, 4)]
    assert p_values[0] == [None, pytest.approx(2 * 2 / 32), pytest.approx(3 * 2 / 1024)]
    assert p_values[1] == [None, 1, 1]
    assert [row[2].stars for row in rows] == ["", "", "**"]
    assert [Cell("x", p_value=p).stars for p in (0.06, 0.05, 0.049, 0.01, 0.009)] == [
        "", "", "*", "*", "**"
    ]  # fmt: skip


def test_lead_over_the_best_of_another_model(study: Study) -> None:
    table = tables.improvement(study)
    assert [cell.text for cell in table.rows[0]] == [
        "R@10", "MISSRec", "SASRec", "+80.00 %", ".4000", ".1250"
    ]  # fmt: skip
    said = tables.finding(study)
    assert said.startswith("In N@10, MISSRec is ahead of SASRec by +80.00 % [+")
    assert said.endswith(" %]: .9000 against .5000, not significant (p = .1250).")


def test_a_variant_is_no_rival_where_there_is_another_model(study: Study) -> None:
    best = study.runs["MISSRec"]
    variants = {"MISSRec": best, "MISSRec:b": best[1:]}
    assert Study("shop", {**variants, "Pop": study.runs["Pop"]}).rival("N@10") == "Pop"
    assert Study("shop", variants).rival("N@10") == "MISSRec:b"
    assert Study("shop", {"MISSRec": best}).rival("N@10") is None


def test_marks_are_told_apart_without_lines(study: Study) -> None:
    others = {f"Pop:{number}": study.runs["Pop"] for number in range(36)}
    styles = figures._styles(Study("shop", {"MISSRec": study.runs["MISSRec"], **others}))
    looks = [(style["marker"], style["color"], style.get("fillstyle")) for style in styles.values()]
    assert len(set(looks)) == len(looks) == 37


def test_intervals_over_users(study: Study) -> None:
    rows = texts(tables.intervals(study))
    assert rows[2][1:4] == [
        ".0000 [.0000, .0000]",
        ".0000 [.0000, .0000]",
        "1.0000 [1.0000, 1.0000]",
    ]
    assert rows[1][1] == ".5000 [.2000, .8000]"  # of ten users, half of them hit


def test_runs_on_other_users_are_not_compared(tmp_path: Path) -> None:
    plan = [planned("MISSRec", 1, "a1"), planned("Pop", 1, "c1")]
    write_plan(tmp_path, plan)
    write_run(tmp_path, plan[0], [0, 0, 20])
    write_run(tmp_path, plan[1], [0, 20])
    (study,) = studies(read_results(tmp_path)[0])

    table = tables.accuracy(study)

    assert texts(table)[1][2] == ".5000"
    assert table.notes[-1].startswith("Without significance and intervals: the results are not of ")
    assert {cell.p_value for row in table.rows for cell in row} == {None}
    assert tables.improvement(study).rows == tables.intervals(study).rows == []
    assert tables.sliced(study, "length").empty
    assert tables.finding(study) == ""


def test_one_user_is_no_comparison(tmp_path: Path) -> None:
    plan = [planned("MISSRec", 1, "a1"), planned("Pop", 1, "c1")]
    write_plan(tmp_path, plan)
    for run in plan:
        write_run(tmp_path, run, [0])
    (study,) = studies(read_results(tmp_path)[0])
    assert tables.accuracy(study).notes[-1].endswith("a comparison needs two users or more.")
    assert tables.improvement(study).rows == tables.intervals(study).rows == []


def test_slices(study: Study) -> None:
    found = tables.sliced(study, "length")
    rows = texts(tables.slice_table(study, "length", found))
    assert [row[:2] for row in rows] == [["0-2", "5"], ["3-5", "5"]]
    assert rows[0][2:] == [
        "1.0000 [1.0000, 1.0000]", "1.0000 [1.0000, 1.0000]", ".0000 [.0000, .0000]"
    ]  # fmt: skip
    assert [row.split()[0] for row in rows[1][2:]] == [".8000", ".0000", ".0000"]


def test_slices_are_those_of_the_first_run(tmp_path: Path) -> None:
    plan = [planned("SASRec", 1, "a1"), planned("SASRec", 2, "a2"), planned("MISSRec", 1, "b1")]
    write_plan(tmp_path, plan)
    for run in plan:
        write_run(tmp_path, run, [0, 20, 0])
    for name, column, value in (
        ("a2", "modalities", "image"),
        ("b1", "modalities", ""),
        ("b1", "popularity", 9),
    ):
        table = parquet.read_table(tmp_path / f"{name}.parquet")
        field = table.schema.field(column)
        values = pa.array([value] * table.num_rows, field.type)
        table = table.set_column(table.column_names.index(column), field, values)
        parquet.write_table(table, tmp_path / f"{name}.parquet")
    (study,) = studies(read_results(tmp_path)[0])

    for by, of_users in (("modalities", ["text,image", "text"]), ("popularity", ["0", "1-2"])):
        rows = texts(tables.slice_table(study, by, tables.sliced(study, by)))
        assert [row[0] for row in rows] == of_users
        for row in rows:
            assert row[2] == row[3] != "–"


def test_beyond_accuracy_with_a_run_that_lacks_it(study: Study) -> None:
    table = tables.beyond_accuracy(study)
    assert table.columns == ["model", "coverage@10", "novelty@10"]
    assert texts(table)[1:] == [["SASRec", ".5000", "9.2500"], ["Pop", "–", "–"]]


def test_cost(study: Study) -> None:
    assert texts(run_tables.cost(study)) == [
        ["MISSRec", "1,000", "2,000", "2.0", "1.0", "2.0", "5.5", "1,234"],
        ["SASRec", "50,000", "50,000", "2.0", "1.0", "2.0", "5.0", "1,234"],
        ["Pop", "1,000", "2,000", "–", "1.0", "–", "5.0", "1,234"],
    ]


def test_curves(study: Study) -> None:
    table = run_tables.curves(study)
    assert table.long
    assert texts(table)[:2] == [
        ["MISSRec", "1", "0", "1.5", ".7500", ".2500"],
        ["MISSRec", "1", "1", "4.0", ".5000", "–"],
    ]
    assert len(table.rows) == 6  # Pop has none


def test_options_in_which_the_models_differ(study: Study) -> None:
    rows = texts(run_tables.options(study))
    assert rows == [["dropout", "0.5", "–", "–"], ["modalities", "['text', 'image']", "–", "–"]]


def test_environments_that_differ(study: Study) -> None:
    runs = [run for runs in study.runs.values() for run in runs]
    other = replace(runs[0], environment={**runs[0].environment, "threads": "2"})
    rows = texts(run_tables.environment([*runs, other]))
    assert rows == [
        ["python", "3.11.7"], ["torch", "2.13.0"], ["cpu", "AMD EPYC"], ["threads", "1; 2"]
    ]  # fmt: skip


def of_scientific(run: Run, model: str, users: int = 8442, **counts: int) -> Run:
    frame = run.users.iloc[[0] * users]
    known = {"users": 8442, "items": 4385, "interactions": 59427, **counts}
    config = {"item_ids": True, "modalities": ["text"]}
    return replace(run, model=model, users=frame, counts=known, config=config)


def test_published_figures_of_the_same_counts(study: Study) -> None:
    run = study.runs["Pop"][0]
    known = published([of_scientific(run, "MISSRec"), of_scientific(run, "SASRec")])
    assert known is not None
    assert known.source.startswith("Published on Scientific: MISSRec: ")
    assert "off by one" in known.note
    ours = known.of(of_scientific(run, "MISSRec"))
    assert ours == {"R@10": 0.1282, "N@10": 0.0711, "R@50": 0.2376, "N@50": 0.0946}
    without_ids = replace(of_scientific(run, "MISSRec"), config={"item_ids": False})
    assert known.of(without_ids)["R@10"] == 0.1269
    assert known.of(of_scientific(run, "SASRec")) == {"R@10": 0.108, "N@10": 0.0553}
    assert known.of(of_scientific(run, "GRU4Rec")) == {}


def test_no_published_figures_of_other_counts(study: Study) -> None:
    run = study.runs["Pop"][0]
    same = of_scientific(run, "SASRec")
    assert published([run]) is None
    assert published([same, of_scientific(run, "SASRec", items=4386)]) is None
    assert published([same, of_scientific(run, "SASRec", users=8441)]) is None


def test_the_published_column(study: Study) -> None:
    run = study.runs["SASRec"][0]
    users = pd.concat([run.users] * 845).head(8442)
    users["user"] = [f"u{row}" for row in range(len(users))]
    same = replace(of_scientific(run, "SASRec"), users=users)
    table = tables.accuracy(Study("any name", {"SASRec": [same]}))
    assert table.columns[-1] == "published R@10 / N@10"
    assert table.rows[0][-1].text == ".1080 / .0553"
    assert any("off by one" in note for note in table.notes)
    assert len(tables.accuracy(study).columns) == 2 + len(METRICS)
