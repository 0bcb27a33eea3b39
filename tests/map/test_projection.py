"""Tokens on a plane: values that one can work out."""

import sys

import numpy as np
import pytest

from recbole_missrec.errors import UsageError
from recbole_missrec.map.projection import check_projection, pca


def test_a_rectangle_in_three_dimensions() -> None:
    corners = np.array([[0.0, 7, 0], [8, 7, 0], [0, 7, 4], [8, 7, 4]])
    plane = pca(corners, seed=0)
    assert np.allclose(np.abs(plane.points), [[4, 2]] * 4)  # a direction may point either way
    assert np.allclose(np.abs(plane.points[0] - plane.points[1]), [8, 0])
    assert np.allclose(np.abs(plane.points[0] - plane.points[2]), [0, 4])
    assert plane.note == "PCA, which keeps 100 % of the variance in two dimensions"


def test_what_two_dimensions_leave_out_is_said() -> None:
    axes = np.concatenate([np.diag([4.0, 4, 2]), -np.diag([4.0, 4, 2])])
    assert "keeps 89 % of" in pca(axes, seed=0).note  # 32 / 36


def test_tokens_of_one_dimension_lie_on_a_line() -> None:
    plane = pca(np.array([[3.0], [5], [13]]), seed=0)
    assert np.allclose(np.abs(plane.points), [[4, 0], [2, 0], [6, 0]])


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_equal_tokens_lie_on_each_other() -> None:
    plane = pca(np.ones((5, 4)), seed=0)
    assert plane.points.tolist() == [[0, 0]] * 5
    assert "keeps 0 % of" in plane.note


def test_the_same_tokens_give_the_same_points() -> None:
    tokens = np.random.default_rng(0).normal(size=(700, 600)).astype(np.float32)
    assert np.array_equal(pca(tokens, seed=3).points, pca(tokens, seed=3).points)


def test_unknown_projection() -> None:
    with pytest.raises(UsageError, match="--projection=pac: unknown; did you mean 'pca'?"):
        check_projection("pac")


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)  # as if it were not, whether or not it is
    with pytest.raises(UsageError, match="needs the package 'umap-learn'; install it with `pip"):
        check_projection("umap")
