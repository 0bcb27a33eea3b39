"""The tables of the stress tests, as a page, as Markdown and for the terminal."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from tabulate import tabulate

from benchmarks.stress.fusion_pages import fusion_tables
from benchmarks.stress.trainings import RAISED
from benchmarks.stress.unseen import raised_table
from recbole_missrec.files import replacing
from recbole_missrec.report.page import Chapter, Part, render
from recbole_missrec.report.table import Cell, Table, interval, number
from recbole_missrec.report.write import markdown_report

TITLE = "Stress tests"
RATIO = (
    "Share of the R@10 with everything that is left: the mean over the seeds, in brackets that of "
    "the worst, and the means of the ends of the seeds' 95 % intervals over users."
)
Rows = Sequence[dict[str, Any]]


def write_pages(result: dict[str, Any], folder: Path) -> None:
    """Write ``NAME.md`` and ``NAME.html`` of a data set into a folder.

    Args:
        result: of ``benchmarks.stress``.
        folder: of the results.
    """
    name = result["dataset"]
    parts = [
        Part("With everything", [whole(result), popularity(result)], []),
        Part(
            "Items that lack a modality, of trained models",
            [*wholly(result), *shares(result)],
            [],
        ),
        Part("Items that lack a modality in training, too", [trained(result)], []),
        Part("Noise", [noisy(result)], []),
        Part("Short histories", [short(result)], []),
        Part("Items that are new", [cold(result), raised_table(result["unseen"])], []),
        Part(
            "Fusion by what an item has",
            fusion_tables(result),
            [],
        ),
        Part("Not trained, for want of time", [left(result)], []),
    ]
    filled = [
        Part(part.title, [table for table in part.tables if table.rows], []) for part in parts
    ]
    chapter = Chapter(name, _summary(result), "", [part for part in filled if part.tables])
    for path, text in (
        (folder / f"{name}.md", markdown_report([chapter], [], [], TITLE)),
        (folder / f"{name}.html", render([chapter], [], [], TITLE)),
    ):
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def summary(result: dict[str, Any]) -> str:
    """What the terminal shows: a modality that is lacking altogether."""
    shown = []
    for table in [whole(result), *wholly(result)]:
        cells = [[f"{cell.text} {cell.spread}".strip() for cell in row] for row in table.rows]
        shown.append(tabulate(cells, headers=table.columns))
    return "\n\n".join(shown)


def _summary(result: dict[str, Any]) -> str:
    made_on = {f"{on['cpu']}, torch {on['torch']}" for on in result["machines"].values()}
    return f"Test rows, ranked against all items; {'; '.join(sorted(made_on))}."


def whole(result: dict[str, Any]) -> Table:
    """Accuracy with everything present."""
    frame = _frame(result, "completeness")
    rows = []
    if len(frame):
        for model, own in frame[frame["whole"].eq(True)].groupby("model", sort=False):
            figures = [_spread(own[metric]) for metric in ("R@10", "N@10")]
            rows.append([Cell(str(model)), Cell(str(len(own))), *figures])
    notes = ("Mean over seeds, least and most in brackets.",)
    return Table(
        "whole",
        "Trained and tested with everything",
        ["model", "seeds", "R@10", "N@10"],
        rows,
        notes,
    )


def wholly(result: dict[str, Any]) -> list[Table]:
    """One modality lacking altogether at inference, strategy by strategy."""
    frame = _kept(result, "completeness")
    if not len(frame):
        return []
    return [
        _pivot(own[own["share"] == 1.0], "strategy", f"{lacking}-lacking", f"No item has {lacking}")
        for lacking, own in frame.groupby("lacking", sort=False)
    ]


def shares(result: dict[str, Any]) -> list[Table]:
    """A share of the items lacking a modality at inference, strategy by strategy."""
    frame = _kept(result, "completeness")
    if not len(frame):
        return []
    frame["items"] = [
        f"{share:.0%} {by}" for share, by in zip(frame["share"], frame["drawn"], strict=True)
    ]
    tables = []
    for (lacking, how), own in frame.groupby(["lacking", "strategy"], sort=False):
        caption = f"{lacking} lacking, {how}: share of the items, at random or the rarest"
        tables.append(_pivot(own, "items", f"{lacking}-{how}", caption))
    return tables


def noisy(result: dict[str, Any]) -> Table:
    """Noise on features."""
    frame = _kept(result, "noise")
    if len(frame):
        frame["noise"] = [
            f"{kind} {amount:g}, {on}"
            for kind, amount, on in zip(frame["noise"], frame["amount"], frame["on"], strict=True)
        ]
    caption = (
        "Gaussian noise, in standard deviations, and features of another item, by share of items"
    )
    return _pivot(frame, "noise", "noise", caption, by_model=False)


def short(result: dict[str, Any]) -> Table:
    """Histories cut to their last events."""
    frame = _kept(result, "short histories")
    return _pivot(frame, "events", "short", "Only the last events of a history are read")


def popularity(result: dict[str, Any]) -> Table:
    """R@10 by how often the training has the target."""
    frame = _frame(result, "popularity")
    slices = list(dict.fromkeys(frame["slice"])) if len(frame) else []
    rows = []
    for model, own in frame.groupby("model", sort=False) if slices else ():
        found = own.set_index("slice").reindex(slices)
        ends = zip(found["mean"], found["low"], found["high"], strict=True)
        cells = [Cell(number(m), interval(*of)) if m == m else Cell("–") for m, *of in ends]
        rows.append([Cell(str(model)), *cells])
    return Table(
        "popularity",
        "R@10 by the training interactions of the target",
        ["model", *slices],
        rows,
        ("Means over seeds of each user, 95 % intervals over users.",),
    )


def trained(result: dict[str, Any]) -> Table:
    """Lacking in training, too."""
    frame = pd.DataFrame(result["lacking"])
    rows = []
    for model, own in frame.groupby("model", sort=False) if len(frame) else ():
        figures = [_spread(own[metric]) for metric in ("R@10", "N@10")]
        rows.append([Cell(str(model)), Cell(str(len(own))), *figures])
    return Table(
        "lacking",
        "Without ids, trained and tested where items lack a modality at random",
        ["lacking", "seeds", "R@10", "N@10"],
        rows,
        ("Mean over seeds, which draw the items, too; least and most in brackets.",),
    )


def cold(result: dict[str, Any]) -> Table:
    """Cold and warm targets."""
    rows = []
    for row in result["cold"]:
        cells = [Cell(row["model"]), Cell(row["targets"]), Cell(f"{row['rows']:,}")]
        for metric in ("R@10", "N@10"):
            over = row.get(f"{metric} over")
            cells += [Cell(number(row[metric]))]
            cells += [Cell(number(over[0]), interval(*over[1:])) if over else Cell("–")]
            cells += [Cell(number(row[f"{metric} p"]) if over else "–")]
        rows.append(cells)
    biases = ", ".join(f"{label} {bias:g}" for label, (_, bias) in RAISED.items())
    return Table(
        "cold",
        "Targets that were never sold before the test, and the others",
        [
            "model",
            "targets",
            "rows",
            *(f"{m}{x}" for m in ("R@10", "N@10") for x in ("", " over content", ", p")),
        ],
        rows,
        (
            "A fifth of the items, drawn three times, is left out of all training and validation "
            "rows and stays among the candidates. Over content: over the cosine of the frozen "
            "features with those of the last item, with a 95 % interval over users and a paired "
            "randomisation test; a user who stands in several draws counts as several. Raised: the "
            f"same models with an unseen_bias ({biases}).",
        ),
    )


def left(result: dict[str, Any]) -> Table:
    """What has not been trained."""
    seeds: dict[str, list[str]] = {}
    for run in sum(result["left"].values(), []):
        label, _, seed = run.rpartition(", seed ")
        seeds.setdefault(label, []).append(seed)
    rows = [[Cell(label), Cell(" ".join(missing))] for label, missing in seeds.items()]
    return Table("left", "Runs that are left", ["model", "seeds"], rows)


def _frame(result: dict[str, Any], condition: str) -> pd.DataFrame:
    frame = pd.DataFrame(result["whole"])
    return frame[frame["condition"] == condition] if len(frame) else frame


def _kept(result: dict[str, Any], condition: str) -> pd.DataFrame:
    """Rows of a condition with the share of the R@10 of the same model with everything."""
    frame = _frame(result, condition)
    if not len(frame):
        return frame
    whole = frame[frame["whole"].eq(True)].set_index(["model", "seed"])["R@10"]
    frame = frame[~frame["whole"].eq(True)].copy()
    index = pd.MultiIndex.from_frame(frame[["model", "seed"]])
    frame["kept"] = frame["R@10"].to_numpy() / whole.loc[index].to_numpy()
    return frame


def _pivot(frame: pd.DataFrame, by: str, name: str, caption: str, by_model: bool = True) -> Table:
    """Models in rows and conditions in columns, or the other way round."""
    if not len(frame):
        return Table(name, caption, [by], [])
    keys = ("model", by) if by_model else (by, "model")
    heads = list(dict.fromkeys(map(str, frame[keys[1]])))
    rows = []
    for key, own in frame.groupby(keys[0], sort=False):
        cells = [Cell(str(key))]
        for head in heads:
            cells.append(_kept_cell(own[own[keys[1]].astype(str) == head]))
        rows.append(cells)
    return Table(name, caption, [keys[0], *heads], rows, (RATIO,))


def _kept_cell(rows: pd.DataFrame) -> Cell:
    if not len(rows):
        return Cell("–")
    spread = f"[{rows['kept'].min():.3f}]"
    if "low" in rows and rows["low"].notna().all():
        spread += f" {rows['low'].mean():.3f}–{rows['high'].mean():.3f}"
    return Cell(f"{rows['kept'].mean():.3f}", spread)


def _spread(values: pd.Series) -> Cell:
    return Cell(number(values.mean()), interval(values.min(), values.max()))
