"""What each fusion makes of items with a text alone, a picture alone, or both."""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from benchmarks.measuring import write_json
from recbole_missrec.comparison.execution import checkpoint_path, result_path
from recbole_missrec.comparison.plan import Run
from recbole_missrec.evaluation.per_user import read_per_user
from recbole_missrec.evaluation.slices import slices
from recbole_missrec.quick_start import restore
from recbole_missrec.trainer.checkpoint import load_checkpoint


def fusion_rows(runs: Sequence[Run], folder: Path) -> list[dict[str, Any]]:
    """R@10 by what the target has, with intervals over users, and what the weights are.

    Args:
        runs: of ``trainings.fusion``.
        folder: of the results and checkpoints.

    Returns:
        A row for each fusion that has a run that is done.
    """
    rows = []
    for label in dict.fromkeys(run.label for run in runs):
        own = [run for run in runs if run.label == label and result_path(folder, run).is_file()]
        if not own:
            continue
        kinds: dict[str, list[list[float]]] = {}
        for run in own:  # seeds lack other features: a target is of a kind in one of them
            frame = read_per_user(folder / f"{run.digest}.parquet")
            for row in slices([frame], "modalities", "recall", 10).to_dict("records"):
                found = [row["mean"], row["low"], row["high"], row["users"]]
                kinds.setdefault(str(row["slice"]), []).append(found)
        rows.append(
            {
                "fusion": label.removeprefix("fusion "),
                "seeds": len(own),
                "R@10": {kind: np.mean(found, 0).tolist() for kind, found in kinds.items()},
                "weights": [weights_of(run, folder) for run in own],
            }
        )
    return rows


@torch.no_grad()
def weights_of(run: Run, folder: Path) -> dict[str, Any]:
    """How much the first modality counts in items that have all, over the test rows.

    Args:
        run: that is done.
        folder: of the results; what is found is kept there.

    Returns:
        ``mean``; ``between items``, the standard deviation over items of the mean over users;
        ``between users``, the other way round; ``with popularity``, Spearman's correlation of
        alpha and training interactions where items have alphas of their own.
    """
    kept = folder / f"{run.digest}.weights.json"
    if not kept.is_file():
        warnings.filterwarnings("ignore", category=FutureWarning, module="recbole")
        path = checkpoint_path(folder, run)
        options = {"show_progress": "False", "state": "error"}
        trainer, loaders = restore(str(path), load_checkpoint(path), options)
        trainer.eval_collector.data_collect(loaders[0])
        trainer.evaluate(loaders[2])
        write_json(kept, _weights(trainer.model, loaders))
    found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
    return found


def _weights(model: Any, loaders: Any) -> dict[str, Any]:
    everything = model.present.all(0).nonzero()[:, 0]  # items with all modalities
    candidates = model.all_candidates()
    items, users = torch.zeros(len(everything)), []
    for batch, *_ in loaders[2]:
        u = model.embed(batch)
        cosines = u @ candidates.tokens[:, everything].transpose(1, 2)
        present = model.present[:, everything][:, None]
        if model.fusion.kind == "static":
            first = torch.full(cosines.shape[1:], 1 / len(cosines))
        else:
            first = model.fusion.weights(cosines, present, everything, u)[0]  # [batch, items]
        items += first.sum(0)
        users.append(first.mean(1))
    by_user = torch.cat(users)
    by_item = items / len(by_user)
    alphas = torch.as_tensor(model.fusion.alphas(everything))
    counts = torch.bincount(loaders[0]._dataset.inter_feat[model.ITEM_ID], minlength=model.n_items)
    correlation = None
    if alphas.dim():
        correlation = float(spearmanr(alphas.numpy(), counts[everything].numpy()).statistic)
    return {
        "modality": model.modalities[0],
        "mean": float(by_user.mean()),
        "between items": float(by_item.std()),
        "between users": float(by_user.std()),
        "alpha": float(alphas.mean()),
        "with popularity": correlation,
    }
