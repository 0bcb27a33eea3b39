"""What each fusion makes of items by what they have: a text, a picture, a long or a sharp one."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import ImageFilter, ImageStat
from scipy.stats import spearmanr

from benchmarks.stress.calibration import calibration
from benchmarks.stress.data import pictures_of, texts_of
from benchmarks.stress.trained import Trained
from recbole_missrec.comparison.execution import checkpoint_path, result_path
from recbole_missrec.comparison.plan import Run
from recbole_missrec.data.domains import Domain
from recbole_missrec.evaluation.per_user import read_per_user
from recbole_missrec.evaluation.slices import slices
from recbole_missrec.files import write_json
from recbole_missrec.map.item_files import read_pairs
from recbole_missrec.picture_files import open_picture

QUARTERS, ENDS = ["least", "less", "more", "most"], [0.0, 0.25, 0.5, 0.75, 1.0]
QUANTILES = [0.05, 0.5, 0.95]
SIDE = 224
OF = {"words": "text", "sharpness": "image"}


def fusion_rows(runs: Sequence[Run], folder: Path) -> list[dict[str, Any]]:
    """R@10 by what the target has, with intervals over users, and what the weights are.

    Args:
        runs: of ``trainings.fusion``.
        folder: of the results and checkpoints.

    Returns:
        A row for each fusion that has a run that is done; R@10 by the modalities of the target, by
        the quarter of the words of its text and of the sharpness of its picture, where the data
        set has these.
    """
    measured = qualities(runs[0]) if runs else {}
    rows = []
    for label in dict.fromkeys(run.label for run in runs):
        own = [run for run in runs if run.label == label and result_path(folder, run).is_file()]
        if not own:
            continue
        kinds: dict[str, dict[str, list[list[float]]]] = {}
        for run in own:  # seeds lack other features: a target is of a kind in one of them
            frame = read_per_user(folder / f"{run.digest}.parquet")
            sliced = {"what the target has": slices([frame], "modalities", "recall", 10)}
            for what, values in measured.items():
                there = frame["modalities"].str.contains(OF[what]).to_numpy()
                quarter = values.reindex(frame["target"]).where(there).to_numpy()
                found = slices([frame.assign(category=quarter)], "category", "recall", 10)
                sliced[f"{what} of the target"] = found.sort_values("slice", key=_in_order)
            for by, found in sliced.items():
                for row in found.to_dict("records"):
                    figures = [row["mean"], row["low"], row["high"], row["users"]]
                    kinds.setdefault(by, {}).setdefault(str(row["slice"]), []).append(figures)
        rows.append(
            {
                "fusion": label.removeprefix("fusion "),
                "seeds": len(own),
                "R@10": {
                    by: {kind: np.mean(figures, 0).tolist() for kind, figures in found.items()}
                    for by, found in kinds.items()
                },
                "weights": [
                    _kept("weights", partial(weights, measured), run, folder) for run in own
                ],
                "calibration": [_kept("calibration", calibration, run, folder) for run in own],
            }
        )
    return rows


def qualities(run: Run) -> dict[str, pd.Series]:
    """Quarter of each item by the words of its text and by the sharpness of its picture.

    Sharpness is the variance of the edges (``PIL.ImageFilter``) of the picture in grey, of
    ``SIDE`` pixels a side; pictures that do not decode have none. Equal items share a quarter.

    Args:
        run: on the data set.

    Returns:
        Name -> by raw item token; what the data set has not is not there, nor is an item without.
    """
    domain = Domain(run.dataset, Path(dict(run.options)["data_path"]) / run.dataset, "")
    found = {}
    if texts_of(domain).is_file():
        found["words"] = read_pairs(texts_of(domain)).str.split().str.len()
    if pictures_of(domain).is_file():
        files = read_pairs(pictures_of(domain))
        found["sharpness"] = files.map(lambda file: _sharpness(domain.folder / file))
    return {
        what: pd.cut(values.dropna().rank(pct=True), ENDS, labels=QUARTERS).astype(str)
        for what, values in found.items()
    }


def _in_order(quarters: pd.Series) -> pd.Series:
    return quarters.map(lambda quarter: [*QUARTERS, "none"].index(quarter))


def _sharpness(file: Path) -> float:
    try:
        picture = open_picture(file).convert("L").resize((SIDE, SIDE))
    except ValueError:
        return float("nan")
    edges = picture.filter(ImageFilter.FIND_EDGES).crop((1, 1, SIDE - 1, SIDE - 1))  # not its frame
    return float(ImageStat.Stat(edges).var[0])


def _kept(
    name: str, examine: Callable[[Path], dict[str, Any]], run: Run, folder: Path
) -> dict[str, Any]:
    """What an examination of the checkpoint of a run has found; it is made once."""
    kept = folder / f"{run.digest}.{name}.json"
    if not kept.is_file():
        write_json(kept, examine(checkpoint_path(folder, run)))
    found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
    return found


@torch.no_grad()
def weights(measured: Mapping[str, pd.Series], checkpoint: Path) -> dict[str, Any]:
    """How much the first modality counts in items that have all, over the test rows.

    Args:
        measured: quarters of items, of ``qualities``.
        checkpoint: of a model.

    Returns:
        ``mean``; ``between items``, the standard deviation over items of the mean over users;
        ``between users``, the other way round; ``of users``, quantiles of these at ``QUANTILES``;
        ``by quarter``, the mean over the items of each; ``alpha``, and where items have alphas of
        their own ``with popularity``, Spearman's correlation with training interactions, and
        ``alpha by what the item has``.
    """
    trained = Trained(checkpoint)
    model = trained.model.eval()
    everything = model.present.all(0).nonzero()[:, 0]  # items with all modalities
    candidates = model.all_candidates()
    items, users = torch.zeros(len(everything)), []
    for batch, *_ in trained.test:
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
    tokens = trained.test._dataset.field2id_token[model.ITEM_ID]
    of_item = pd.Series(by_item.numpy(), tokens[everything.numpy()])
    quarters = {
        what: of_item.groupby(values.reindex(of_item.index)).mean().to_dict()
        for what, values in measured.items()
    }
    alphas = torch.as_tensor(model.fusion.alphas(everything))
    correlation, by_kind = None, {}
    if alphas.dim():
        correlation = float(spearmanr(alphas.numpy(), trained.counts[everything].numpy()).statistic)
        alone = model.present & (model.present.sum(0) == 1)  # [modalities, items]
        by_kind = {"all": float(alphas.mean())} | {
            f"{name} alone": float(model.fusion.alphas(own.nonzero()[:, 0]).mean())
            for name, own in zip(model.modalities, alone, strict=True)
            if own.any()
        }
    return {
        "modality": model.modalities[0],
        "mean": float(by_user.mean()),
        "between items": float(by_item.std()),
        "between users": float(by_user.std()),
        "of users": by_user.quantile(torch.tensor(QUANTILES)).tolist(),
        "by quarter": quarters,
        "alpha": float(alphas.mean()),
        "with popularity": correlation,
        "alpha by what the item has": by_kind,
    }
