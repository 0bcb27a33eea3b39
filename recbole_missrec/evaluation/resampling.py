"""Resampling of users: the bootstrap of means, and the signs of paired differences."""

from itertools import combinations
from typing import NamedTuple

import numpy as np

LEVEL = 0.05  # of a verdict; an interval covers 1 - LEVEL
_BLOCK = 2**20  # numbers held at once
_ROUNDING = 1e-12  # of a user's metric, in [0, 1]; what differs by less is equal


class Interval(NamedTuple):
    """Ends of a 95 % interval."""

    low: float
    high: float


def resampled_means(values: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Means of columns over users drawn with replacement, the same users for every column.

    Args:
        values: ``[users, columns]``.
        resamples: number of bootstrap samples.
        rng: where the draws come from.

    Returns:
        ``[resamples, columns]``.
    """
    users = len(values)
    means = np.empty((resamples, values.shape[1]))
    for block in _blocks(resamples, users):
        rows = block.stop - block.start
        drawn = rng.integers(users, size=(rows, users)) + users * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * users).reshape(rows, users)
        means[block] = times.astype(float) @ values / users  # [rows, columns]
    return means


def percentile_interval(resampled: np.ndarray) -> Interval:
    """The 95 % interval between percentiles of resampled statistics, ``[resamples]``."""
    return Interval(*np.quantile(resampled, (LEVEL / 2, 1 - LEVEL / 2)).tolist())


def sign_flip_p_values(
    values: np.ndarray, resamples: int, rng: np.random.Generator
) -> dict[tuple[int, int], float]:
    """Fisher's randomisation test of each pair of columns: signs of differences are flipped.

    All sign patterns are tried where there are no more than ``resamples``; of drawn ones, the same
    for all pairs, the observed is counted as another (Phipson and Smyth, 2010).

    Args:
        values: in [0, 1], ``[users, models]``.
        resamples: number of random sign patterns.
        rng: where they come from.

    Returns:
        Pair of columns -> two-sided p-value.
    """
    users, models = values.shape
    pairs = list(combinations(range(models), 2))
    first, second = np.array(pairs).T  # [pairs]
    sums = values.sum(axis=0)  # [models]
    tolerance = _ROUNDING * users
    observed = np.abs(sums[first] - sums[second]) - tolerance  # [pairs]
    extreme = np.zeros(len(pairs), dtype=int)
    for block in _blocks(resamples, max(users, len(pairs))):
        signs = rng.integers(2, size=(block.stop - block.start, users), dtype=np.int8) * 2.0 - 1
        flipped = signs @ values  # [rows, models]; that of a - b is the difference of two
        extreme += (np.abs(flipped[:, first] - flipped[:, second]) >= observed).sum(axis=0)
    p_values = dict(zip(pairs, ((extreme + 1) / (resamples + 1)).tolist(), strict=True))
    for a, b in pairs:
        differences = values[:, a] - values[:, b]
        signed = differences[np.abs(differences) > _ROUNDING / 2]  # a zero has no sign to flip
        if len(signed) < resamples.bit_length():  # no more patterns than resamples
            p_values[a, b] = _exact_p_value(signed, tolerance)
    return p_values


def _exact_p_value(differences: np.ndarray, tolerance: float) -> float:
    """Share of all sign patterns whose sum is as extreme as that of ``[users]`` differences."""
    bits = np.arange(len(differences))
    signs = 1 - 2 * (np.arange(2 ** len(differences))[:, None] >> bits & 1)  # [patterns, users]
    extreme = np.abs(signs @ differences) >= abs(differences.sum()) - tolerance
    return float(extreme.mean())


def _blocks(resamples: int, numbers: int) -> list[slice]:
    """Resamples in blocks of bounded memory; each takes so many numbers."""
    rows = max(1, _BLOCK // numbers)
    return [slice(start, min(start + rows, resamples)) for start in range(0, resamples, rows)]
