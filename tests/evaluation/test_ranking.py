"""Ranks and metrics of one target among all candidates, with ties."""

from itertools import permutations
from math import log2

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recbole.config import Config
from recbole.evaluator import Collector, Evaluator

from recbole_missrec.errors import UsageError
from recbole_missrec.evaluation.ranking import (
    METRICS,
    count_ranks,
    expected_rank,
    per_row_metric,
    ranking_metrics,
)

OUT = float("-inf")


def test_counts_by_hand() -> None:
    scores, targets, better, equal = zip(
        ([OUT, 3, 2, 2, 1], 2, 1, 1),  # 3 is above, the other 2 is level
        ([OUT, 3, 2, 2, 1], 1, 0, 0),  # the best
        ([OUT, 3, 2, 2, 1], 4, 3, 0),  # the last of the four candidates
        ([OUT, 5, 5, 5, 5], 3, 0, 3),  # all level
        ([OUT, OUT, -1, 0, -2], 2, 1, 0),  # an excluded item is neither above nor level
        ([OUT, 0.0, -0.0, 7, 7], 1, 2, 1),  # minus zero is zero
        strict=True,
    )
    found = count_ranks(torch.tensor(scores), torch.tensor(targets))

    assert [count.tolist() for count in found] == [list(better), list(equal)]
    assert [count.dtype for count in found] == [torch.int64, torch.int64]
    assert expected_rank(*found).tolist() == [2.5, 1, 4, 2.5, 2, 3.5]


@pytest.mark.parametrize(("rows", "items"), [(2500, 1000), (3, 2**20 + 1)])
def test_counts_over_several_blocks(rows: int, items: int) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(50, (rows, items), generator=generator).float()
    targets = torch.randint(items, (rows,), generator=generator)
    own = scores[torch.arange(rows), targets].unsqueeze(1)

    better, equal = count_ranks(scores, targets)

    assert torch.equal(better, (scores > own).sum(1))
    assert torch.equal(equal + 1, (scores == own).sum(1))


def test_counts_do_not_depend_on_the_order_of_items() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(4, (20, 30), generator=generator).float()
    targets = torch.randint(30, (20,), generator=generator)
    order = torch.randperm(30, generator=generator)

    before = count_ranks(scores, targets)
    after = count_ranks(scores[:, order], order.argsort()[targets])

    assert torch.equal(before[0], after[0])
    assert torch.equal(before[1], after[1])
    assert before[1].max() > 0


def test_nan_is_refused_wherever_it_is() -> None:
    scores = torch.tensor([[1.0, 2, 3], [4, float("nan"), 9]])
    with pytest.raises(ValueError, match="scores contain NaN"):
        count_ranks(scores, torch.tensor([0, 2]))


def test_excluded_target_is_refused() -> None:
    scores = torch.tensor([[OUT, 2, 3], [OUT, 5, 6]])
    with pytest.raises(ValueError, match=r"1 of 2 targets are scored -inf"):
        count_ranks(scores, torch.tensor([0, 2]))


@pytest.mark.parametrize(
    ("metric", "at_1", "at_2", "at_3"),
    [  # one candidate above, one level: rank 2 or 3, each with probability 1/2
        ("hit", 0, 1 / 2, 1),
        ("recall", 0, 1 / 2, 1),
        ("precision", 0, 1 / 4, 1 / 3),
        ("mrr", 0, (1 / 2) / 2, (1 / 2 + 1 / 3) / 2),
        ("map", 0, (1 / 2) / 2, (1 / 2 + 1 / 3) / 2),
        ("ndcg", 0, (1 / log2(3)) / 2, (1 / log2(3) + 1 / log2(4)) / 2),
    ],
)
def test_metrics_by_hand(metric: str, at_1: float, at_2: float, at_3: float) -> None:
    better, equal = torch.tensor([1]), torch.tensor([1])
    found = [per_row_metric(better, equal, metric, k).item() for k in (1, 2, 3, 1000)]
    far = at_3 if metric != "precision" else 1 / 1000
    assert found == pytest.approx([at_1, at_2, at_3, far], abs=1e-15)


def test_a_tie_of_a_million_at_the_top() -> None:
    better, equal = torch.tensor([0, 10]), torch.tensor([999_999, 999_999])
    assert per_row_metric(better, equal, "hit", 10).tolist() == [1e-5, 0]


def by_definition(rank: int, k: int) -> dict[str, float]:
    """Each metric of one positive at a rank, written out."""
    hit = float(rank <= k)
    return {
        "recall": hit,
        "hit": hit,
        "ndcg": hit / log2(1 + rank),
        "mrr": hit / rank,
        "precision": hit / k,
        "map": hit / rank,
    }


@settings(max_examples=40, deadline=None)
@given(
    scores=st.lists(st.integers(0, 2), min_size=5, max_size=5),
    target=st.integers(0, 4),
    k=st.integers(1, 6),
)
def test_expected_metric_is_the_mean_over_all_orderings(
    scores: list[int], target: int, k: int
) -> None:
    """A stable sort of every order of the items breaks the ties in every way, equally often."""
    ranks = [
        sorted(order, key=lambda item: -scores[item]).index(target) + 1
        for order in permutations(range(5))
    ]
    better, equal = count_ranks(torch.tensor([scores]).float(), torch.tensor([target]))

    assert expected_rank(better, equal).item() == pytest.approx(sum(ranks) / len(ranks))
    for metric in METRICS:
        expected = sum(by_definition(rank, k)[metric] for rank in ranks) / len(ranks)
        assert per_row_metric(better, equal, metric, k).item() == pytest.approx(expected)


def test_means_have_the_keys_and_order_of_recbole() -> None:
    better, equal = torch.tensor([0, 1, 5]), torch.tensor([0, 1, 0])
    found = ranking_metrics(better, equal, ["Recall", "MRR"], [2, 1])
    assert list(found) == ["recall@2", "recall@1", "mrr@2", "mrr@1"]
    assert found == pytest.approx(
        {
            "recall@2": (1 + 1 / 2) / 3,
            "recall@1": 1 / 3,
            "mrr@2": (1 + 1 / 4) / 3,
            "mrr@1": 1 / 3,
        }
    )


def test_agreement_with_the_evaluator_of_recbole_without_ties() -> None:
    rows, items = 400, 60
    config = Config(
        model="BPR",
        dataset="ml-100k",
        config_dict={
            "metrics": ["Recall", "Hit", "NDCG", "MRR", "Precision", "MAP"],
            "topk": [1, 5, 20],
            "metric_decimal_place": 12,
            "use_gpu": False,
        },
    )
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(rows, items, generator=generator).argsort(dim=1).float()  # no ties
    scores[:, 0] = OUT
    targets = torch.randint(1, items, (rows,), generator=generator)
    collector = Collector(config)
    collector.eval_batch_collect(scores, None, torch.arange(rows), targets)
    theirs = Evaluator(config).evaluate(collector.get_data_struct())

    ours = ranking_metrics(*count_ranks(scores, targets), config["metrics"], config["topk"])

    assert list(ours) == list(theirs)
    assert ours == pytest.approx(dict(theirs), abs=1e-11)
    assert 0 < ours["recall@1"] < ours["recall@20"] < 1


def test_unknown_metric_and_k_out_of_range() -> None:
    one = torch.tensor([1])
    with pytest.raises(UsageError, match="no metric 'ndgc': did you mean 'ndcg'?"):
        ranking_metrics(one, one, ["ndgc"], [10])
    for k in (0, -3, 10**30):
        with pytest.raises(UsageError, match=f"k must be from 1 to 1000000, not {k}"):
            ranking_metrics(one, one, ["hit"], [k])
