"""Item tokens as points of a plane."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np

from recbole_missrec.errors import UsageError, nearest

NEIGHBOURS = 15  # of UMAP, its own default


class Plane(NamedTuple):
    """Points and what is to be said of them.

    Attributes:
        points: float64 ``[tokens, 2]``.
        note: a sentence.
    """

    points: np.ndarray
    note: str


def pca(tokens: np.ndarray, seed: int) -> Plane:
    """The two directions of the greatest variance, by scikit-learn.

    Time O(n dim^2), memory O(n dim): seconds for 100,000 tokens of 300 dimensions.

    Args:
        tokens: ``[tokens, dim]``.
        seed: of scikit-learn's randomised solver, where it chooses that one.
    """
    from sklearn.decomposition import PCA

    axes = min(2, *tokens.shape)
    fitted = PCA(axes, random_state=seed).fit(tokens)
    points = np.zeros((len(tokens), 2))
    points[:, :axes] = fitted.transform(tokens)
    kept = np.nan_to_num(fitted.explained_variance_ratio_.sum())  # not a number if all are equal
    return Plane(points, f"PCA, which keeps {100 * kept:.0f} % of the variance in two dimensions")


def umap(tokens: np.ndarray, seed: int) -> Plane:
    """Neighbours stay neighbours (McInnes et al., arXiv 1802.03426), by umap-learn.

    On one thread, so that a seed gives the same map again: minutes for 100,000 tokens.

    Args:
        tokens: ``[tokens, dim]``.
        seed: of the sampling.

    Raises:
        UsageError: too few tokens to have neighbours.
    """
    from umap import UMAP

    if len(tokens) <= NEIGHBOURS:
        raise UsageError(
            f"--projection=umap: needs more than {NEIGHBOURS} tokens; there are {len(tokens)}"
        )
    fitted = UMAP(n_neighbors=NEIGHBOURS, random_state=seed, n_jobs=1)
    note = "UMAP, which keeps neighbours together; distances between groups say little"
    return Plane(fitted.fit_transform(tokens).astype(np.float64), note)


PROJECTIONS: dict[str, Callable[[np.ndarray, int], Plane]] = {"pca": pca, "umap": umap}


def check_projection(name: str) -> None:
    """See that there is such a projection, before any long work.

    Raises:
        UsageError: there is none, or its package is not installed.
    """
    if name not in PROJECTIONS:
        raise UsageError(f"--projection={name}: unknown; {nearest(name, PROJECTIONS)}")
    if name == "umap" and not find_spec("umap"):
        raise UsageError(
            "--projection=umap: needs the package 'umap-learn'; install it with "
            "`pip install umap-learn`"
        )
