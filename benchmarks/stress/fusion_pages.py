"""The pages of the part fusion: R@10 by what the target has, weights, calibration."""

from statistics import mean
from typing import Any

from benchmarks.stress.fusion import QUANTILES
from recbole_missrec.report.table import Cell, Table, interval, number


def fusion_tables(result: dict[str, Any]) -> list[Table]:
    """All tables of the part."""
    tables = [weights(result), weights_by_kind(result), calibrated(result)]
    return [*fusions(result), *tables]


def fusions(result: dict[str, Any]) -> list[Table]:
    """R@10 by what the target has, by its words and by the sharpness of its picture."""
    tables = []
    for by in dict.fromkeys(by for row in result["fusion"] for by in row["R@10"]):
        kinds = list(dict.fromkeys(kind for row in result["fusion"] for kind in row["R@10"][by]))
        rows = []
        for row in result["fusion"]:
            cells = [Cell(row["fusion"]), Cell(str(row["seeds"]))]
            for kind in kinds:
                found = row["R@10"][by].get(kind)
                cells.append(Cell(number(found[0]), interval(*found[1:3])) if found else Cell("–"))
            rows.append(cells)
        notes = (
            "A quarter of the items lacks the text and, drawn apart, a quarter the picture. 95 % "
            "intervals over users, means of the seeds' ends.",
        )
        name = f"fusion-{by.partition(' ')[0]}"
        tables.append(Table(name, f"R@10 by {by}", ["fusion", "seeds", *kinds], rows, notes))
    return tables


def weights(result: dict[str, Any]) -> Table:
    """What the fusions learn."""
    columns = ("mean", "between items", "between users", "alpha", "with popularity")
    rows = []
    for row in result["fusion"]:
        known = [[w[column] for w in row["weights"] if w[column] is not None] for column in columns]
        known_users = [w["of users"] for w in row["weights"] if "of users" in w]  # not of before
        quantiles = zip(*known_users, strict=True) if known_users else [None] * len(QUANTILES)
        found = [mean(v) if v else None for v in (*known, *quantiles)]
        rows.append([Cell(row["fusion"]), *(Cell(number(value)) for value in found)])
    return Table(
        "weights",
        "Weight of the text in items that have both, over the test rows",
        ["fusion", *columns, *(f"{quantile:.0%} of users" for quantile in QUANTILES)],
        rows,
        ("Standard deviations between items (of means over users) and between users; alpha, and "
         "its rank correlation with the item's training interactions; quantiles over users of the "
         "mean over items.",),
    )  # fmt: skip


def weights_by_kind(result: dict[str, Any]) -> Table:
    """Weights by the quarters of items, and alphas by what items have."""
    cells: dict[str, dict[str, list[float]]] = {}
    for row in result["fusion"]:
        for one in row["weights"]:
            parts = {
                f"weight, {what}: {quarter}": value
                for what, found in one.get("by quarter", {}).items()
                for quarter, value in found.items()
            }
            alphas = one.get("alpha by what the item has", {}).items()
            parts |= {f"alpha, {kind}": value for kind, value in alphas}
            for part, value in parts.items():
                cells.setdefault(part, {}).setdefault(row["fusion"], []).append(value)
    fusions = [row["fusion"] for row in result["fusion"]]
    return Table(
        "weights-by-kind",
        "Weight of the text by the quarter of the item, alpha by what the item has",
        ["", *fusions],
        [
            [Cell(part), *(Cell(number(mean(of[f]) if f in of else None)) for f in fusions)]
            for part, of in cells.items()
        ],
        ("Quarters of the words of texts and of the sharpness of pictures, of items that have "
         "both; alphas where each item has its own.",),
    )  # fmt: skip


def calibrated(result: dict[str, Any]) -> Table:
    """What a shift of the items with one modality gains."""
    rows = []
    for row in result["fusion"]:
        own = row["calibration"]
        cells = [Cell(row["fusion"])]
        for modality in own[0]["shifts"]:
            cells.append(Cell(" ".join(f"{one['shifts'][modality]:+g}" for one in own)))
        for metric in ("N@10 on validation", "R@10", "N@10"):
            cells += [Cell(number(mean(one[metric][shifted] for one in own))) for shifted in (0, 1)]
        cells += [Cell(number(mean(one[share] for one in own))) for share in ("shown", "sought")]
        rows.append(cells)
    shifts = list(result["fusion"][0]["calibration"][0]["shifts"]) if rows else []
    metrics = [
        f"{m}{how}" for m in ("N@10 on validation", "R@10", "N@10") for how in ("", ", shifted")
    ]
    return Table(
        "calibration",
        "Scores of items with one modality, shifted by a number that is best on validation",
        ["fusion", *(f"shifts of {m} alone" for m in shifts), *metrics, "shown", "sought"],
        rows,
        ("Shifts of scores over the temperature, seed by seed. Shown, sought: share of items with "
         "one modality among the first ten as they are, and among the targets.",),
    )  # fmt: skip
