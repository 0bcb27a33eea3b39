"""One data set's runs side by side: means, spread over seeds, comparisons and intervals."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from recbole_missrec.errors import UsageError
from recbole_missrec.evaluation.per_user import per_user_metric
from recbole_missrec.evaluation.resampling import percentile_interval, resampled_means
from recbole_missrec.evaluation.significance import (
    RESAMPLES,
    SEED,
    Comparison,
    compare,
    compare_all,
)
from recbole_missrec.report.results import Run

METRICS = {  # as papers write them
    "R@10": ("recall", 10),
    "N@10": ("ndcg", 10),
    "R@50": ("recall", 50),
    "N@50": ("ndcg", 50),
    "MRR@10": ("mrr", 10),
}
HEADLINE = "N@10"  # what figures draw where they draw one metric
VALIDATED = "@".join(map(str, METRICS[HEADLINE]))  # its name in the curves


@dataclass(frozen=True)
class Study:
    """The finished runs on one data set.

    Attributes:
        dataset: its name.
        runs: label -> runs, one a seed, in the order of the plan.
    """

    dataset: str
    runs: dict[str, list[Run]]

    @cached_property
    def frames(self) -> dict[str, list[pd.DataFrame]]:
        """Label -> per-user results, one a seed."""
        return {label: [run.users for run in runs] for label, runs in self.runs.items()}

    @cached_property
    def by_seed(self) -> dict[str, dict[str, list[float]]]:
        """Metric -> label -> mean over users of each seed."""
        return {
            metric: {
                label: [float(_values([frame], metric).mean()) for frame in frames]
                for label, frames in self.frames.items()
            }
            for metric in METRICS
        }

    def means(self, metric: str) -> dict[str, float]:
        """Label -> mean over seeds."""
        return {label: float(np.mean(seeds)) for label, seeds in self.by_seed[metric].items()}

    def best(self, metric: str, labels: Iterable[str] | None = None) -> str:
        """The label with the highest mean, of those given or of all."""
        return max(self.runs if labels is None else labels, key=self.means(metric).__getitem__)

    def rival(self, metric: str) -> str | None:
        """The best label of another model than the best; of the others where there is one model.

        None where there is no other label.
        """
        best = self.best(metric)
        others = [label for label in self.runs if label != best]
        model = self.runs[best][0].model
        of_other_models = [label for label in others if self.runs[label][0].model != model]
        return self.best(metric, of_other_models or others) if others else None

    @cached_property
    def caveat(self) -> str:
        """Why the runs cannot be compared user by user; empty where they can."""
        try:
            users = per_user_metric(sum(self.frames.values(), []), *METRICS[HEADLINE])
            if len(users) < 2:
                raise UsageError("a comparison needs two users or more")
        except UsageError as error:
            return f"Without significance and intervals: {error}."
        return ""

    @cached_property
    def p_values(self) -> dict[str, dict[frozenset[str], float]]:
        """Metric -> two labels -> p-value of their difference, Holm-adjusted over all pairs of
        labels; no pairs where the runs cannot be compared."""
        if self.caveat or len(self.runs) < 2:
            return {metric: {} for metric in METRICS}
        return {
            metric: {
                frozenset({pair.a, pair.b}): pair.p_holm
                for pair in compare_all(self.frames, *METRICS[metric])
            }
            for metric in METRICS
        }

    @cached_property
    def leads(self) -> dict[str, Comparison]:
        """Metric -> the best label against its rival; no metrics without a rival, or where the
        runs cannot be compared."""
        if self.caveat or len(self.runs) < 2:
            return {}
        rivals = {metric: self.rival(metric) or "" for metric in METRICS}
        return {
            metric: compare(self.frames[self.best(metric)], self.frames[rival], *METRICS[metric])
            for metric, rival in rivals.items()
        }

    @cached_property
    def intervals(self) -> dict[str, dict[str, tuple[float, float]]]:
        """Metric -> label -> 95 % bootstrap interval of its mean over users; no labels where the
        runs cannot be compared."""
        if self.caveat:
            return {metric: {} for metric in METRICS}
        return {metric: dict(zip(self.runs, self._ends(metric), strict=True)) for metric in METRICS}

    def _ends(self, metric: str) -> list[tuple[float, float]]:
        values = [_values(frames, metric) for frames in self.frames.values()]
        resampled = resampled_means(np.stack(values, 1), RESAMPLES, np.random.default_rng(SEED))
        return [percentile_interval(means) for means in resampled.T]  # [labels]


def _values(frames: list[pd.DataFrame], metric: str) -> np.ndarray:
    """A metric of each user, averaged over the seeds, ``[users]``."""
    return per_user_metric(frames, *METRICS[metric]).to_numpy().mean(axis=1)


def studies(runs: Iterable[Run]) -> list[Study]:
    """The runs by data set, then by label, in their order."""
    by_dataset: dict[str, dict[str, list[Run]]] = {}
    for run in runs:
        by_dataset.setdefault(run.dataset, {}).setdefault(run.label, []).append(run)
    return [Study(dataset, labels) for dataset, labels in by_dataset.items()]
