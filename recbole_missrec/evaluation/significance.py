"""Is one model better than another for the same users? Paired bootstrap and randomisation test."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from recbole_missrec.errors import UsageError
from recbole_missrec.evaluation.per_user import per_user_metric
from recbole_missrec.evaluation.resampling import (
    LEVEL,
    percentile_interval,
    resampled_means,
    sign_flip_p_values,
)

RESAMPLES = 10_000
SEED = 2020


@dataclass(frozen=True)
class Comparison:
    """Model a against model b in one metric, over the users that both ranked.

    Attributes:
        metric: lower-case name of the metric.
        k: length of the recommended list.
        users: number of (user, target) pairs.
        mean_a: mean of the metric for a, over users and seeds.
        mean_b: the same for b.
        difference: mean_a - mean_b.
        low: lower end of the 95 % interval of the difference.
        high: its upper end.
        relative: mean_a / mean_b - 1; None where mean_b is 0.
        relative_low: lower end of its 95 % interval; None where the mean of b is 0 in a resample
            that decides it.
        relative_high: the upper end.
        p_value: two-sided, of the hypothesis that a and b are interchangeable for each user.
    """

    metric: str
    k: int
    users: int
    mean_a: float
    mean_b: float
    difference: float
    low: float
    high: float
    relative: float | None
    relative_low: float | None
    relative_high: float | None
    p_value: float

    @property
    def verdict(self) -> str:
        """What can be said of a at the 5 % level."""
        return _verdict(self.p_value, self.difference)


@dataclass(frozen=True)
class PairwiseComparison(Comparison):
    """One pair of a family of models that were all compared with each other.

    Attributes:
        a: name of the first model.
        b: name of the second.
        p_holm: p_value, adjusted for the number of pairs in the family.
    """

    a: str
    b: str
    p_holm: float

    @property
    def verdict(self) -> str:
        """What can be said of a at the 5 % level, which holds for the whole family."""
        return _verdict(self.p_holm, self.difference)


def _verdict(p_value: float, difference: float) -> str:
    if p_value >= LEVEL:
        return "no significant difference"
    return "better" if difference > 0 else "worse"


def compare(
    a: list[pd.DataFrame],
    b: list[pd.DataFrame],
    metric: str,
    k: int,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Comparison:
    """Compare two models user by user.

    The intervals are of a percentile bootstrap in two stages (Efron and Tibshirani, 1993, ch. 13;
    both stages: Davison and Hinkley, 1997, section 3.8): users are drawn with replacement, the
    same for both models, and so are the seeds of each model, independently. With one seed the
    interval is over users alone; with few it is too narrow, since s seeds spread by a factor of
    sqrt((s - 1) / s) less around their own mean than around the true one.

    The p-value is that of Fisher's randomisation test over users, each user's metric averaged over
    the seeds first: if the models are interchangeable, each user's difference is as likely with the
    opposite sign. Every row is one unit, which is right for leave-one-out, where a user has one
    target.

    Time grows with users * resamples; memory beyond the tables does not (about 50 MB).

    Args:
        a: tables of `read_per_user`, one per seed of the first model.
        b: the same for the second model; as many seeds or others.
        metric: name of a metric, in any case.
        k: length of the recommended list.
        resamples: number of bootstrap samples and of random sign patterns.
        seed: seed of both; the same seed gives the same result.

    Returns:
        The comparison.

    Raises:
        UsageError: the tables are not of the same users and targets, or of fewer than two users;
            no such metric, or k out of range.
    """
    return _compare_pairs([a, b], metric, k, resamples, seed)[0]


def compare_all(
    results: Mapping[str, list[pd.DataFrame]],
    metric: str,
    k: int,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> list[PairwiseComparison]:
    """Compare every two models of a family as `compare` does, with adjusted p-values.

    All models are resampled together, by matrix products: time grows with users * resamples *
    models, not with the number of pairs; so do means of resamples, resamples * runs.

    Args:
        results: name of a model -> tables of `read_per_user`, one per seed.
        metric: name of a metric, in any case.
        k: length of the recommended list.
        resamples: number of bootstrap samples and of random sign patterns.
        seed: seed of both.

    Returns:
        Each pair once, in the order of ``results``, p-values adjusted by `holm` over all pairs.

    Raises:
        UsageError: fewer than two models, or as `compare`.
    """
    if len(results) < 2:
        raise UsageError("a comparison needs two models or more")
    rows = _compare_pairs(list(results.values()), metric, k, resamples, seed)
    adjusted = holm([row.p_value for row in rows])
    return [
        PairwiseComparison(**vars(row), a=a, b=b, p_holm=p_holm)
        for (a, b), row, p_holm in zip(combinations(results, 2), rows, adjusted, strict=True)
    ]


def holm(p_values: list[float]) -> list[float]:
    """Adjust p-values for their number, so that the error of the whole family is bounded.

    Step-down procedure of Holm (1979): the smallest of m is multiplied by m, the next by m - 1 and
    so on; none is less than one before it, nor more than 1.

    Args:
        p_values: of all tests of the family.

    Returns:
        The adjusted p-values, in the same order.
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.maximum.accumulate(np.asarray(p_values)[order] * factors).clip(max=1)
    return adjusted.tolist()


def _compare_pairs(
    models: list[list[pd.DataFrame]], metric: str, k: int, resamples: int, seed: int
) -> list[Comparison]:
    """Each pair of models once, in order."""
    tables = [table for model in models for table in model]
    values = per_user_metric(tables, metric, k).to_numpy()  # [users, runs]
    if len(values) < 2:
        raise UsageError("a comparison needs two users or more")
    ends = np.cumsum([len(model) for model in models])
    runs = [slice(end - len(model), end) for end, model in zip(ends, models, strict=True)]
    over_seeds = [values[:, columns].mean(axis=1) for columns in runs]
    by_model = np.stack(over_seeds, axis=1)  # [users, models]
    means = by_model.mean(axis=0)  # [models]
    rng = np.random.default_rng(seed)
    p_values = sign_flip_p_values(by_model, resamples, rng)
    of_runs = resampled_means(values, resamples, rng)  # [resamples, runs]
    resampled = [_resample_seeds(of_runs[:, columns], rng) for columns in runs]
    comparisons = []
    for a, b in combinations(range(len(models)), 2):
        low, high = percentile_interval((resampled[a] - resampled[b]).round(12))
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = percentile_interval(resampled[a] / resampled[b] - 1)
        relative_low, relative_high = (end if np.isfinite(end) else None for end in relative)
        comparisons.append(
            Comparison(
                metric=metric.lower(),
                k=k,
                users=len(values),
                mean_a=float(means[a]),
                mean_b=float(means[b]),
                difference=float((means[a] - means[b]).round(12)),
                low=low,
                high=high,
                relative=float(means[a] / means[b] - 1) if means[b] else None,
                relative_low=relative_low,
                relative_high=relative_high,
                p_value=p_values[a, b],
            )
        )
    return comparisons


def _resample_seeds(means: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mean over seeds drawn anew for each resample; ``[resamples, seeds]`` -> ``[resamples]``."""
    drawn = rng.integers(means.shape[1], size=means.shape)
    return np.take_along_axis(means, drawn, axis=1).mean(axis=1)
