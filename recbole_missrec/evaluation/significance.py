"""Is one model better than another for the same users? Paired bootstrap and randomisation test."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from scipy.stats import bootstrap, permutation_test

from recbole_missrec.errors import UsageError
from recbole_missrec.evaluation.ranking import per_row_metric

LEVEL = 0.05  # of the verdict; the interval covers 1 - LEVEL
_BLOCK = 2**20  # resampled users held at once


@dataclass(frozen=True)
class Comparison:
    """Model a against model b in one metric, over the users that both ranked.

    Attributes:
        metric: lower-case name of the metric.
        k: length of the recommended list.
        users: number of (user, target) pairs.
        mean_a: mean of the metric for a, over users and seeds.
        mean_b: the same for b.
        difference: mean of a - b over users.
        low: lower end of the 95 % interval of the difference.
        high: its upper end.
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
    p_value: float

    @property
    def verdict(self) -> str:
        """What can be said of a at the 5 % level."""
        if self.p_value >= LEVEL:
            return "no significant difference"
        return "better" if self.difference > 0 else "worse"


def compare(
    a: list[pd.DataFrame],
    b: list[pd.DataFrame],
    metric: str,
    k: int,
    resamples: int = 10_000,
    seed: int = 2020,
) -> Comparison:
    """Compare two models user by user.

    A user's metric is first averaged over the seeds of each model. The interval is a percentile
    bootstrap over users (Efron and Tibshirani, 1993, ch. 13), the p-value that of Fisher's
    randomisation test: under the hypothesis each user's difference is as likely with the opposite
    sign. All sign patterns are tried where there are no more than ``resamples``. Every row is one
    unit, which is right for leave-one-out, where a user has one target.

    Time grows with users * resamples; memory does not (about 50 MB).

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
    values = _pair(a + b, metric, k)  # [users, seeds of a + seeds of b]
    if len(values) < 2:
        raise UsageError("a comparison needs two users or more")
    mean_a, mean_b = values[:, : len(a)].mean(axis=1), values[:, len(a) :].mean(axis=1)  # [users]
    differences = (mean_a - mean_b).round(12)  # what differs by rounding alone is equal
    low, high = _interval(differences, resamples, seed)
    return Comparison(
        metric=metric.lower(),
        k=k,
        users=len(values),
        mean_a=float(mean_a.mean()),
        mean_b=float(mean_b.mean()),
        difference=float(differences.mean()),
        low=low,
        high=high,
        p_value=_p_value(differences, resamples, seed),
    )


def _pair(tables: list[pd.DataFrame], metric: str, k: int) -> np.ndarray:
    """The metric of each (user, target) in each table, ``[users, tables]``."""
    columns = [
        pd.Series(
            per_row_metric(
                torch.tensor(table["better"].to_numpy()),
                torch.tensor(table["equal"].to_numpy()),
                metric,
                k,
            ).numpy(),
            index=pd.MultiIndex.from_frame(table[["user", "target"]]),
        )
        for table in tables
    ]
    paired = pd.concat(columns, axis=1)  # a missing pair is NaN
    unpaired = int(paired.isna().any(axis=1).sum())
    if unpaired:
        raise UsageError(
            f"the results are not of the same users and targets: {unpaired} of {len(paired)} "
            "(user, target) pairs are missing from one file or more"
        )
    return paired.to_numpy()


def _interval(differences: np.ndarray, resamples: int, seed: int) -> tuple[float, float]:
    interval = bootstrap(
        (differences,),
        np.mean,
        n_resamples=resamples,
        batch=max(1, _BLOCK // len(differences)),
        confidence_level=1 - LEVEL,
        method="percentile",
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def _p_value(differences: np.ndarray, resamples: int, seed: int) -> float:
    signed = differences[differences != 0]  # a zero has no sign to flip
    if len(signed) < 2:
        return 1.0
    with np.errstate(over="ignore"):  # scipy counts the 2 ** users sign patterns in floating point
        test = permutation_test(
            (signed,),
            np.mean,
            permutation_type="samples",
            n_resamples=resamples,
            batch=max(1, _BLOCK // len(signed)),
            random_state=np.random.default_rng(seed),
        )
    return float(test.pvalue)
