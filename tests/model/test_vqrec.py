"""VQRec: codes of features, items out of them, its size, and what it says without faiss."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

from recbole_missrec.cli import main
from recbole_missrec.model.vqrec import VQRec, quantise
from recbole_missrec.trainer.freezing import count_parameters
from tests.reference import causal as reference
from tests.shops import tiny_words, write_tiny_shop
from tests.tiny_models import tiny_baseline, tiny_tokens


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shop(tmp_path_factory.mktemp("shop"))


def normal(rows: int, dim: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)


# --- codes ---------------------------------------------------------------------------------------


def test_groups_of_rows_that_lie_together_share_a_code() -> None:
    centres = np.array([[0, 0], [0, 9], [9, 0], [9, 9]], np.float32)
    which = np.array([3, 0, 1, 2, 2, 1, 0, 3, 3, 0])
    codes = quantise(centres[which] + normal(10, 2) * 0.01, groups=1, bits=2)
    assert codes.shape == (10, 1)
    by_centre = [set(codes[which == centre, 0].tolist()) for centre in range(4)]
    assert sorted(map(sorted, by_centre)) == [[0], [1], [2], [3]]


def test_a_code_is_of_its_own_part_of_the_dimensions() -> None:
    """Two parts that vary alone: with as many centroids as values the pair of codes tells all."""
    x = np.array([[a, 0, 0, b] for a in (0, 5) for b in (0, 7)], np.float32)
    codes = quantise(x, groups=2, bits=1)
    assert len(np.unique(codes, axis=0)) == 4


@pytest.mark.parametrize(("dim", "groups"), [(10, 4), (3, 8), (8, 4)])
def test_dimensions_need_not_be_a_multiple_of_the_groups(dim: int, groups: int) -> None:
    codes = quantise(normal(60, dim), groups, bits=3)
    assert codes.shape == (60, groups)
    assert (codes.min(), codes.max()) == (0, 7)


def test_few_rows_have_few_centroids() -> None:
    x = normal(11, 6).repeat(3, axis=0)  # 11 distinct rows: 8 centroids
    codes = quantise(x, groups=2, bits=8)
    assert codes.max() == 7
    assert (codes.reshape(11, 3, 2) == codes[::3][:, None]).all()  # equal rows, equal codes


def test_rows_that_are_all_the_same_have_one_code() -> None:
    assert quantise(np.ones((4, 3), np.float32), groups=2, bits=8).tolist() == [[0, 0]] * 4


def test_neither_order_nor_threads_matter() -> None:
    x = normal(400, 16)
    codes = quantise(x, groups=4, bits=5)
    order = np.random.default_rng(1).permutation(400)
    for threads in (1, 2):
        with threadpool_limits(threads):
            assert (quantise(x[order], groups=4, bits=5) == codes[order]).all()


def test_the_rotation_lessens_the_error() -> None:
    """Dimensions that vary together, but in different parts, are a case for OPQ."""
    hidden = normal(500, 2)
    x = np.concatenate([hidden, hidden + normal(500, 2, seed=1) * 0.01], axis=1)
    codes = quantise(x, groups=2, bits=4)
    _, cell = np.unique(codes, axis=0, return_inverse=True)
    means = np.stack([x[cell == each].mean(0) for each in range(cell.max() + 1)])
    error = ((x - means[cell]) ** 2).sum() / ((x - x.mean(0)) ** 2).sum()
    assert error < 0.02  # 16 values of each of the two hidden dimensions


# --- items ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("modalities", [["text"], ["image", "text"]])
def test_items_equal_the_reference(shop: Path, modalities: list[str]) -> None:
    model = tiny_baseline(shop, "VQRec", modalities=modalities)
    expected = [reference.vqrec_item(model.state_dict(), row) for row in model.codes.tolist()]
    torch.testing.assert_close(model.item_vectors(), torch.stack(expected), rtol=1e-12, atol=1e-12)


def test_codes_of_groups_and_modalities_do_not_overlap(shop: Path) -> None:
    model = tiny_baseline(shop, "VQRec")
    groups, centroids = 4, 8
    assert model.codes.shape == (25, 2 * groups)
    for column, codes in enumerate(model.codes.T):
        there = model.present[column // groups]
        assert codes[~there].tolist() == [0] * int((~there).sum())
        first = 1 + column * centroids
        assert first <= codes[there].min() and codes[there].max() < first + centroids
    alike = [tiny_tokens(shop).index(item) for item in ("i4", "i5")]
    assert torch.equal(model.codes[alike[0]], model.codes[alike[1]])


def test_number_of_parameters(shop: Path) -> None:
    model = tiny_baseline(shop, "VQRec")
    dim, inner, longest = 8, 12, 8
    layer = 4 * (dim * dim + dim) + (dim * inner + inner) + (inner * dim + dim) + 2 * 2 * dim
    transformer = longest * dim + 2 * dim + 2 * layer
    expected = transformer + (2 * 4 * 8 + 1) * dim
    assert count_parameters(model) == (expected, expected)


def test_a_loaded_model_reads_the_codes_it_was_trained_with(shop: Path) -> None:
    model: VQRec = tiny_baseline(shop, "VQRec")
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    kept["codes"] = kept["codes"].flip(0)  # as another version of faiss might make them
    model.load_state_dict(kept)
    assert torch.equal(model.codes, kept["codes"])


def test_without_faiss_the_command_that_installs_it_is_named(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)  # how Python marks a module as absent
    monkeypatch.delitem(sys.modules, "recbole_missrec.model.vqrec")
    assert main(tiny_words(shop, "VQRec")) == 2
    message = "--model=VQRec: needs the package 'faiss'; install it with `pip install faiss-cpu`"
    assert capsys.readouterr().err == f"recbole-missrec: {message}\n"
