"""Cross-entropy in chunks: worked by hand, and equal to that of the whole matrix."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recbole_missrec.losses.cross_entropy import chunked_cross_entropy

ITEMS = 7
F64 = torch.float64


def slices_of(first: int, *sizes: int) -> list[slice]:
    """Slices of these sizes, one after the other."""
    ends = [first + sum(sizes[: index + 1]) for index in range(len(sizes))]
    return [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]


def chunks(chunk: int) -> list[slice]:
    return slices_of(0, *(min(chunk, ITEMS - start) for start in range(0, ITEMS, chunk)))


def of_matrix(scores: Tensor, slices: list[slice], targets: Tensor) -> Tensor:
    """The loss of given scores, ``[batch, items]``; they are the parameter."""
    u = torch.zeros(len(scores), 1, dtype=scores.dtype)
    return chunked_cross_entropy(
        lambda u, ids, items: scores[:, items], slices, targets, u, None, [scores]
    )


def score(alpha: Tensor, v: Tensor, u: Tensor, ids: Tensor | None, items: slice) -> Tensor:
    """Scores that depend on each kind of input."""
    content = alpha * (u @ v[items].T)
    return content if ids is None else content + u.tanh() @ ids.T


def random_inputs(rows: int = 5, items: int = ITEMS) -> list[Tensor]:
    """u, ids, v and alpha."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(rows, 4), (items, 4), (items, 4), ()]
    return [torch.randn(shape, generator=generator, dtype=F64).requires_grad_() for shape in shapes]


# --- by hand --------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [[3], [2, 1], [1, 2], [1, 1, 1]])
def test_two_rows_of_three_items(sizes: list[int]) -> None:
    # -log(2 / 6) and -log(4 / 6): their mean is log(3 * 1.5) / 2.
    # The gradient is the probability, less 1 at the target, over 2 rows.
    scores = torch.tensor([[1.0, 2.0, 3.0], [4.0, 1.0, 1.0]]).log().requires_grad_()
    loss = of_matrix(scores, slices_of(0, *sizes), torch.tensor([1, 0]))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(math.log(4.5) / 2)
    expected = torch.tensor([[1 / 12, 2 / 12 - 1 / 2, 3 / 12], [4 / 12 - 1 / 2, 1 / 12, 1 / 12]])
    torch.testing.assert_close(scores.grad, expected)


def test_items_outside_the_slices_do_not_count() -> None:
    # items 0 and 5 are left out: -log(2 / 6)
    scores = torch.tensor([[50.0, 1.0, 2.0, 2.0, 1.0, 50.0]]).log().requires_grad_()
    loss = of_matrix(scores, slices_of(1, 3, 1), torch.tensor([2]))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(math.log(3))
    assert scores.grad is not None
    assert scores.grad[0, [0, 5]].tolist() == [0, 0]


# --- equal to the whole ---------------------------------------------------------------------


@pytest.mark.parametrize("with_ids", [True, False])
@pytest.mark.parametrize("chunk", [1, 3, ITEMS])
def test_values_and_gradients_equal_the_whole(chunk: int, with_ids: bool) -> None:
    u, ids, v, alpha = random_inputs(rows=ITEMS)
    given_ids = ids if with_ids else None
    targets = torch.randperm(ITEMS, generator=torch.Generator().manual_seed(1))  # in every chunk
    loss = chunked_cross_entropy(
        lambda *chunk: score(alpha, v, *chunk), chunks(chunk), targets, u, given_ids, [v, alpha]
    )
    whole = F.cross_entropy(score(alpha, v, u, given_ids, slice(None)), targets)
    torch.testing.assert_close(loss, whole, rtol=1e-12, atol=1e-12)
    inputs = [u, v, alpha, *([ids] if with_ids else [])]
    found, expected = (torch.autograd.grad(1.5 * x, inputs) for x in (loss, whole))
    for one, other in zip(found, expected, strict=True):
        assert other.abs().sum() > 0
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("wanted", [[0], [1], [2], [3], [0, 3], [1, 2]])
def test_gradients_that_are_not_asked_for_change_nothing(wanted: list[int]) -> None:
    inputs = random_inputs()
    for index, x in enumerate(inputs):
        x.requires_grad_(index in wanted)
    u, ids, v, alpha = inputs
    targets = torch.tensor([6, 0, 3, 2, 5])
    loss = chunked_cross_entropy(
        lambda *chunk: score(alpha, v, *chunk), chunks(3), targets, u, ids, [v, alpha]
    )
    whole = F.cross_entropy(score(alpha, v, u, ids, slice(None)), targets)
    asked = [inputs[index] for index in wanted]
    found, expected = (torch.autograd.grad(x, asked) for x in (loss, whole))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_a_parameter_without_effect_gets_no_change() -> None:
    u, ids, v, alpha = random_inputs()
    unused = torch.ones(2, dtype=F64, requires_grad=True)
    loss = chunked_cross_entropy(
        lambda *chunk: score(alpha, v, *chunk),
        chunks(3),
        torch.tensor([6, 0, 3, 2, 5]),
        u,
        ids,
        [v, alpha, unused],
    )
    loss.backward()
    assert unused.grad is None or not unused.grad.any()
    assert alpha.grad is not None and alpha.grad != 0


@pytest.mark.parametrize("target", range(ITEMS))
def test_a_target_in_each_place(target: int) -> None:
    scores = torch.randn(1, ITEMS, generator=torch.Generator().manual_seed(2)).double()
    targets = torch.tensor([target])
    expected = F.cross_entropy(scores, targets)
    for chunk in range(1, ITEMS + 1):
        loss = of_matrix(scores, chunks(chunk), targets)
        torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)


@settings(deadline=None)
@given(
    first=st.integers(0, 3),
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=5),
    seed=st.integers(0, 1000),
    rows=st.integers(1, 4),
)
def test_any_chunks_equal_the_whole(first: int, sizes: list[int], seed: int, rows: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = 3 * torch.randn(rows, first + sum(sizes), generator=generator, dtype=F64)
    targets = torch.randint(first, first + sum(sizes), (rows,), generator=generator)
    scores.requires_grad_()
    loss = of_matrix(scores, slices_of(first, *sizes), targets)
    whole = F.cross_entropy(scores[:, first:], targets - first)
    torch.testing.assert_close(loss, whole, rtol=1e-12, atol=1e-12)
    (found,), (expected,) = (torch.autograd.grad(x, scores) for x in (loss, whole))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


# --- numbers and memory ---------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("chunk", [1, 3, ITEMS])
def test_large_scores_stay_finite(chunk: int, dtype: torch.dtype) -> None:
    # the target is far below, far above, among equals far up and far down
    scores = torch.zeros(4, ITEMS, dtype=dtype)
    scores[0, 5], scores[1, 2], scores[2], scores[3] = 1e4, 1e4, 1e4, -1e4
    scores[0, 2] = -1e4
    scores.requires_grad_()
    loss = of_matrix(scores, chunks(chunk), torch.tensor([2, 2, 2, 6]))
    loss.backward()
    expected = (2e4 + 0 + 2 * math.log(ITEMS)) / 4
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-6)
    assert scores.grad is not None
    assert scores.grad.isfinite().all()
    assert scores.grad[0, [2, 5]].tolist() == [-0.25, 0.25]
    assert scores.grad[1].abs().sum() == 0


def test_one_chunk_is_held_at_a_time() -> None:
    u, ids, v, alpha = random_inputs(rows=2, items=12)
    asked: list[tuple[slice, int]] = []

    def noted(u: Tensor, ids: Tensor | None, items: slice) -> Tensor:
        assert ids is not None
        asked.append((items, len(ids)))
        return score(alpha, v, u, ids, items)

    slices = slices_of(0, 5, 5, 2)
    kept: list[tuple[int, ...]] = []

    def keep(x: Tensor) -> Tensor:
        kept.append(tuple(x.shape))
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        loss = chunked_cross_entropy(noted, slices, torch.tensor([0, 11]), u, ids, [v, alpha])
    assert asked == [(slices[0], 5), (slices[1], 5), (slices[2], 2)]
    assert sorted(kept) == [(), (2,), (2,), (2, 4), (12, 4), (12, 4)]  # no scores
    loss.backward()
    assert asked == 2 * [(slices[0], 5), (slices[1], 5), (slices[2], 2)]
