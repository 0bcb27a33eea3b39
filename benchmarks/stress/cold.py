"""Items that nobody has bought before the test: cold targets and warm ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.stress.data import cold_items
from benchmarks.stress.trainings import CONTENT, RAISED
from recbole_missrec.comparison.execution import checkpoint_path, result_path
from recbole_missrec.comparison.plan import Run
from recbole_missrec.evaluation.per_user import per_user_metric, read_per_user
from recbole_missrec.evaluation.significance import compare
from recbole_missrec.quick_start import evaluate


def cold_rows(runs: Sequence[Run], folder: Path) -> list[dict[str, Any]]:
    """R@10 and N@10 on cold and on warm targets, each model beside the nearest neighbour.

    The neighbour is that by the same features.
    A user of a draw is one unit of the paired test, so that one who stands in several draws
    counts several times.

    Args:
        runs: of ``trainings.cold``.
        folder: of the results.

    Returns:
        A row for each model and kind of target, where all runs of the model and of its neighbour
        are done.
    """
    of: dict[str, list[tuple[Run, Path]]] = {}
    for run in runs:
        label = run.label.rpartition(", draw ")[0]
        of.setdefault(label, []).append((run, folder / f"{run.digest}.parquet"))
        if label in RAISED:
            of.setdefault(f"{label} with new items raised", []).append(
                (run, raised(run, folder, RAISED[label][1]))
            )
    tables = {
        label: [
            _joined([one for one in own if one[0].seed == seed])
            for seed in sorted({run.seed for run, _ in own})
        ]
        for label, own in of.items()
        if all(result_path(folder, run).is_file() and ranks.is_file() for run, ranks in own)
    }
    rows = []
    for label, joined in tables.items():
        neighbour = tables.get(CONTENT + _features(label))
        if neighbour is None:
            continue
        for kind in ("cold", "warm"):
            own, content = (
                [table[table["kind"] == kind] for table in some] for some in (joined, neighbour)
            )
            row: dict[str, Any] = {"model": label, "targets": kind, "rows": len(own[0])}
            row["by draw"] = own[0]["draw"].value_counts().sort_index().tolist()
            for name, metric in (("R@10", "recall"), ("N@10", "ndcg")):
                row[name] = float(per_user_metric(own, metric, 10).to_numpy().mean())
                if not label.startswith(CONTENT):
                    against = compare(own, content, metric, 10)
                    row[f"{name} over"] = [against.difference, against.low, against.high]
                    row[f"{name} p"] = against.p_value
            rows.append(row)
    return rows


def _features(label: str) -> str:
    """What a label says of the features: all after the first comma."""
    return "".join(label.partition(", ")[1:])


def raised(run: Run, folder: Path, bias: float) -> Path:
    """Rank the test rows of a trained model again, with an ``unseen_bias``.

    Args:
        run: of the training.
        folder: of the results.
        bias: of the option.

    Returns:
        Where the ranks are; nothing is there without the checkpoint, or before the training.
    """
    ranks = folder / f"{run.digest}.raised-{bias:g}.parquet"
    checkpoint = checkpoint_path(folder, run)
    if not ranks.is_file() and checkpoint.is_file():
        options = {"unseen_bias": str(bias), "per_user": str(ranks)}
        evaluate(str(checkpoint), options | {"show_progress": "False", "state": "error"})
    return ranks


def _joined(runs: Sequence[tuple[Run, Path]]) -> pd.DataFrame:
    """Test rows of all draws of a model and seed, each with its draw and the kind of its target."""
    frames = []
    for run, ranks in runs:
        draw = int(run.label.rpartition(" ")[2])
        cold = cold_items(Path(dict(run.options)["data_path"]) / run.dataset)
        frame = read_per_user(ranks)
        frame = frame.assign(
            user=[f"{draw}/{user}" for user in frame["user"]],
            draw=draw,
            kind=["cold" if target in cold else "warm" for target in frame["target"]],
        )
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)
