"""How far the scores of items that the training never read are to be raised.

Chosen on rows that are no test rows: the last event of each user is left out, and of what remains a
fifth of the items stands nowhere but as the last event. Raised, new items are found more often and
the others less; the rule is to raise them until they are found as often as the others.
"""

from collections.abc import Iterator, Sequence
from statistics import mean
from typing import Any

import torch

from benchmarks.stress.calibration import scores_of
from benchmarks.stress.trained import Trained
from recbole_missrec.evaluation.ranking import count_ranks, per_row_metric
from recbole_missrec.report.table import Cell, Table, number

BIASES = tuple(step / 100 for step in range(11))  # of a cosine
FIGURES = ("new", "others", "all", "N@10, all")


@torch.no_grad()
def raised(model: Trained) -> Iterator[dict[str, Any]]:
    """R@10 on new and on other targets with each value of ``unseen_bias``."""
    model.model.eval()
    for bias in BIASES:
        model.model.options["unseen_bias"] = bias
        scores, targets = scores_of(model.model, model.test)
        counted = count_ranks(scores, targets)
        found, gain = (per_row_metric(*counted, metric, 10) for metric in ("recall", "ndcg"))
        new = model.model.unseen[targets]  # [rows]
        values = (found[new], found[~new], found, gain)
        figures = {name: float(v.mean()) for name, v in zip(FIGURES, values, strict=True)}
        yield {"bias": bias, "rows": [int(new.sum()), len(new)], **figures}


def raised_table(rows: Sequence[dict[str, Any]]) -> Table:
    """Means over the seeds of what ``raised`` gave.

    Args:
        rows: each with its model and seed.
    """
    by: dict[tuple[str, float], list[dict[str, Any]]] = {}
    for row in rows:
        by.setdefault((row["model"], row["bias"]), []).append(row)
    cells = [
        [Cell(model), Cell(f"{bias:g}"), Cell(str(len(own)))]
        + [Cell(number(mean(row[name] for row in own))) for name in FIGURES]
        for (model, bias), own in by.items()
    ]
    return Table(
        "raised",
        "New items raised, R@10; no test row is read",
        ["model", "unseen_bias", "seeds", *FIGURES],
        cells,
        (
            "The last event of each user is left out, and of what remains a fifth of the items, "
            "drawn by the seed, stands nowhere but as a last event. New are these and what no "
            "training row has anyway. The rule: raise new items until they are found as often as "
            "the others.",
        ),
    )
