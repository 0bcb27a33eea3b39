"""What recommended lists hold, by hand and against RecBole's metrics."""

from collections import Counter
from math import log, log2

import pytest
import torch
from recbole.evaluator import metrics as recbole_metrics
from recbole.evaluator.collector import DataStruct

from recbole_missrec.evaluation.beyond import beyond_accuracy, count_recommendations

OUT = float("-inf")
FIGURES = ["coverage", "gini", "shannonentropy", "averagepopularity", "tailpercentage", "novelty"]


def test_recommendations_are_counted_for_each_length() -> None:
    scores = torch.tensor([[OUT, 4.0, 3, 2, 1], [OUT, 1, 3, 2, 4]])
    counts = count_recommendations(scores, [3, 1])
    assert {k: of_items.tolist() for k, of_items in counts.items()} == {
        3: [0, 1, 2, 2, 1],
        1: [0, 1, 0, 0, 1],
    }


def test_excluded_items_are_not_recommended() -> None:
    scores = torch.tensor([[OUT, 4.0, OUT, 2], [OUT, 1, 3, OUT]])
    counts = count_recommendations(scores, [50])  # longer than the catalogue, too
    assert counts[50].tolist() == [0, 2, 1, 1]


def test_four_items_by_hand() -> None:
    """Two lists of two: items 1, 2 and 1, 3; of 10 interactions item 1 has 7, item 4 none."""
    found = beyond_accuracy({2: torch.tensor([0, 2, 1, 1, 0])}, torch.tensor([0, 7, 2, 1, 0]))
    assert found == pytest.approx(
        {
            "coverage@2": 3 / 4,
            # (2 i - 5) times 0, 1/4, 1/4, 1/2, summed, by 4
            "gini@2": (-1 / 4 + 1 / 4 + 3 / 2) / 4,
            "shannonentropy@2": (log(2) / 2 + 2 * log(4) / 4) / 3,
            "averagepopularity@2": (7 + 7 + 2 + 1) / 4,
            "tailpercentage@2": 1 / 4,  # one item of three known ones: item 3
            "novelty@2": -(2 * log2(8 / 14) + log2(3 / 14) + log2(2 / 14)) / 4,
        }
    )
    assert list(found) == [f"{name}@2" for name in FIGURES]


def test_extremes() -> None:
    popularity = torch.tensor([0, 3, 3, 3, 3])
    even = beyond_accuracy({1: torch.tensor([0, 5, 5, 5, 5])}, popularity)
    assert (even["coverage@1"], even["gini@1"]) == (1, 0)
    assert even["novelty@1"] == pytest.approx(2)  # each item has a quarter
    one = beyond_accuracy({1: torch.tensor([0, 9, 0, 0, 0])}, popularity)
    assert (one["coverage@1"], one["gini@1"]) == (1 / 4, 3 / 4)
    assert one["shannonentropy@1"] == 0


def test_agreement_with_recbole() -> None:
    """On lists of 30 users; RecBole is told of as many items as there are without the padding."""
    generator = torch.Generator().manual_seed(0)
    items, topk = 40, [3, 10]
    scores = torch.randn(30, items + 1, generator=generator) - torch.arange(items + 1) / 10
    scores[:, 0] = OUT
    popularity = torch.randint(0, 6, (items + 1,), generator=generator)
    popularity[0] = 0

    found = beyond_accuracy(count_recommendations(scores, topk), popularity)

    data = DataStruct()
    data.set("rec.items", scores.topk(max(topk)).indices)
    data.set("data.num_items", items)
    data.set("data.count_items", Counter({i: n for i, n in enumerate(popularity.tolist()) if n}))
    config = {"topk": topk, "metric_decimal_place": 12, "tail_ratio": None}
    for theirs, ours in (
        ("ItemCoverage", "coverage"),
        ("GiniIndex", "gini"),
        ("ShannonEntropy", "shannonentropy"),
        ("AveragePopularity", "averagepopularity"),
        ("TailPercentage", "tailpercentage"),
    ):
        expected = getattr(recbole_metrics, theirs)(config).calculate_metric(data)
        assert expected == pytest.approx(
            {f"{theirs.lower()}@{k}": found[f"{ours}@{k}"] for k in topk}, abs=1e-11
        )
    assert 0 < found["tailpercentage@10"] < found["coverage@10"] < 1
