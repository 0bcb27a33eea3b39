"""Discovery: absent tokens take no part; what is found, kept, refused and chosen."""

import logging
import math
import sys
from typing import Any

import pytest
import torch
from torch import Tensor

from recbole_missrec.errors import Diverged, UsageError
from recbole_missrec.interests import discovery
from recbole_missrec.interests.density_peaks import density_peaks
from recbole_missrec.interests.discovery import (
    EXACT_TOKENS,
    choose,
    discover,
    nearest_interests,
    num_interests,
    num_neighbours,
)
from recbole_missrec.interests.health import Health, Interests

# items 0 ... 3, two modalities; the padding item and one image are absent
TOKENS = torch.tensor([[[9.0], [9.0]], [[0.0], [10.0]], [[1.0], [11.0]], [[2.0], [99.0]]])
PRESENT = torch.tensor([[False, False], [True, True], [True, True], [True, False]])
METHODS = ["dpc_knn", "dpc_knn_ivf", "kmeans", "auto"]
OPTIONS = {
    "interest_ratio": 0.4,
    "interest_space": "tokens",
    "interest_sample": None,
    "knn_neighbours": None,
    "knn_local_ratio": 0.2,
    "knn_include_self": False,
    "interest_moved": 0.0,
    "interest_warm_start": False,
    "seed": 0,
}
CPU = torch.device("cpu")


def found(
    tokens: Tensor = TOKENS, method: str = "dpc_knn", last: Interests | None = None, **options: Any
) -> tuple[Interests, Health]:
    """What is discovered, where something is."""
    given = OPTIONS | {"interest_method": method} | options
    result = discover(tokens[PRESENT], PRESENT, given, seed=0, last=last)
    assert result is not None
    return result


@pytest.mark.parametrize("method", METHODS)
def test_two_interests_of_five_tokens(method: str) -> None:
    interests, health = found(method=method)
    low, high = sorted(range(2), key=lambda k: float(interests.centroids[k]))
    expected = [[-1, -1], [low, high], [low, high], [low, -1]]
    assert interests.ids.tolist() == expected
    assert interests.centroids[[low, high]].tolist() == [[1.0], [10.5]]
    assert (health.clusters, health.used, health.largest_share) == (2, 2, 0.6)
    entropy = -0.6 * math.log(0.6) - 0.4 * math.log(0.4)
    assert health.perplexity == pytest.approx(math.exp(entropy))
    assert (health.mixed_share, health.changed_share) == (0.0, 1.0)
    assert all(type(value) in (int, float) for value in vars(health).values())


def test_number_of_interests_is_rounded_up() -> None:
    def number(
        ratio: float, space: str = "tokens", method: str = "dpc_knn", sample: int | None = None
    ) -> int:
        options = {"interest_ratio": ratio, "interest_space": space, "interest_method": method}
        return num_interests(PRESENT, options | {"interest_sample": sample})

    assert (number(0.4), number(0.41), number(1e-9)) == (2, 3, 1)
    assert number(0.4, "modality") == number(0.4, "features") == 2 + 1  # of 3 texts, of 2 images
    assert [number(0.5, sample=size) for size in (1, 2, 3, 5, 9)] == [1, 1, 2, 3, 3]
    assert number(0.4, method="single") == 1
    assert number(0.4, method="items") == 3


def test_modalities_apart() -> None:
    interests, _ = found(interest_space="modality", interest_ratio=0.01)
    assert interests.ids.tolist() == [[-1, -1], [0, 1], [0, 1], [0, -1]]
    assert interests.centroids.tolist() == [[1.0], [10.5]]


def test_features_are_clustered_and_tokens_averaged() -> None:
    text = torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.0, 1.0], [1.0, 1.1]])
    image = torch.tensor([[0.0], [3.0], [3.0], [99.0]])
    options = OPTIONS | {"interest_method": "dpc_knn", "interest_space": "features"}
    result = discover(TOKENS[PRESENT], PRESENT, options, 0, features=[text, image])
    assert result is not None
    ids, centroids = result[0].ids, result[0].centroids
    assert ids[2, 0] == ids[3, 0] != ids[1, 0]  # tokens 1 and 2, features 1 and about 1
    assert ids[1, 1] == ids[2, 1] == 2
    assert centroids[ids[1:, 0]].tolist() == [[0.0], [1.5], [1.5]]
    assert centroids[2].tolist() == [10.5]
    moved = 2 * TOKENS[PRESENT]
    others = [torch.rand(4, 2), torch.rand(4, 1)]  # not looked at again
    again = discover(moved, PRESENT, options, 1, result[0], others)
    assert again is not None and again[0].ids.equal(ids)
    assert again[0].centroids.equal(2 * centroids)


def test_whether_a_token_is_among_its_own_neighbours_is_passed_on() -> None:
    points = torch.rand(40, 2, generator=torch.Generator().manual_seed(3))
    present = torch.ones(40, 1, dtype=torch.bool)
    ids = {}
    for include_self in (False, True):
        options = OPTIONS | {"interest_method": "dpc_knn", "knn_include_self": include_self}
        options |= {"interest_ratio": 0.2, "knn_neighbours": 2}
        result = discover(points, present, options, 0)
        assert result is not None
        ids[include_self] = result[0].ids.squeeze(1)
        assert ids[include_self].equal(density_peaks(points, 8, 2, include_self)[0])
    assert not ids[False].equal(ids[True])


@pytest.mark.parametrize("method", METHODS)
def test_tokens_beside_a_sample_join_the_nearest_interest(method: str) -> None:
    order = torch.randperm(5, generator=torch.Generator().manual_seed(7))
    values = torch.empty(5, 1)
    values[order] = torch.tensor([[0.0], [10.0], [20.0], [4.9], [17.0]])  # three are drawn
    tokens = torch.zeros(4, 2, 1)
    tokens[PRESENT] = values
    interests, health = found(
        tokens, method, interest_ratio=1.0, interest_sample=3, seed=7, knn_neighbours=1
    )
    assert (health.clusters, health.used) == (3, 3)
    own = interests.centroids[interests.ids[PRESENT]][order]
    assert own.squeeze(1).tolist() == pytest.approx([2.45, 10.0, 18.5, 2.45, 18.5])

    # a sample of as many as there are changes nothing
    whole, _ = found(tokens, method, interest_ratio=0.4)
    same, _ = found(tokens, method, interest_ratio=0.4, interest_sample=5)
    assert same.ids.equal(whole.ids) and same.centroids.equal(whole.centroids)


def test_clusters_of_no_token_take_none() -> None:
    tokens = torch.zeros(4, 2, 1)
    tokens[PRESENT] = torch.tensor([[5.0], [5.0], [9.0], [9.0], [9.0]])  # 2 places, 5 clusters
    interests, health = found(tokens, "kmeans", interest_ratio=1.0)
    assert (health.clusters, health.used) == (5, 2)
    none = torch.zeros(1, 1)
    late = torch.tensor([[[1.0], [8.0]]])  # two items of one modality, the first near zero
    there = torch.tensor([[True, True]])
    ids = nearest_interests(late, there, torch.cat([interests.centroids, none]))
    assert interests.centroids[ids[:, 0]].tolist() == [[5.0], [9.0]]
    assert nearest_interests(late, there, torch.zeros(3, 1)).tolist() == [[2], [2]]  # no interests

    values = torch.tensor([[1.0], [9.0], [9.0], [9.0], [9.0]])  # one near zero, beside the sample
    order = torch.randperm(5, generator=torch.Generator().manual_seed(0))
    beside = torch.empty(5, 1)
    beside[order] = values.flip(0)  # the last of the order is not drawn
    tokens[PRESENT] = beside
    _, health = found(tokens, "kmeans", interest_ratio=1.0, interest_sample=4)
    assert (health.clusters, health.used) == (4, 1)


def test_density_peaks_that_do_not_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "memory_limit_mib", lambda device: 500.0)
    with pytest.raises(UsageError, match="--interest_method=dpc_knn: k 1 for 5 tokens takes 512 M"):
        found(method="dpc_knn")
    found(method="kmeans")
    monkeypatch.setattr(discovery, "memory_limit_mib", lambda device: 600.0)
    found(method="dpc_knn", knn_neighbours=10**9)  # no token has so many others


def test_without_a_search() -> None:
    assert found(method="single")[0].ids.tolist() == [[-1, -1], [0, 0], [0, 0], [0, -1]]
    items, _ = found(method="items")
    assert items.ids.tolist() == [[-1, -1], [0, 0], [1, 1], [2, -1]]
    assert items.centroids.tolist() == [[5.0], [6.0], [2.0]]
    drawn, health = found(method="random", seed=3)
    assert (health.smallest, health.largest) == (2, 3)
    assert found(method="random", seed=3, last=drawn)[1].changed_share == 0
    draws = {
        tuple(found(method="random", seed=seed)[0].ids.flatten().tolist()) for seed in range(9)
    }
    assert len(draws) > 1


def test_neighbours_are_a_number_or_a_share_rounded_up() -> None:
    assert num_neighbours(101, OPTIONS) == 21
    assert num_neighbours(101, OPTIONS | {"knn_neighbours": 4}) == 4


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_tokens_that_are_no_numbers_are_refused(method: str, value: float) -> None:
    tokens = TOKENS.clone()
    tokens[3, 1] = value  # absent, which does not matter
    found(tokens, method)
    tokens[2, 0] = value
    with pytest.raises(Diverged, match="a token of an item is not a number"):
        found(tokens, method)


def test_no_token_at_all_is_an_error() -> None:
    with pytest.raises(ValueError, match="1 clusters of 0 points"):
        discover(
            TOKENS[PRESENT & False],
            PRESENT & False,
            OPTIONS | {"interest_method": "dpc_knn"},
            seed=0,
        )


def test_tokens_that_have_not_moved_keep_their_interests(caplog: pytest.LogCaptureFixture) -> None:
    # tokens 0 1 2 and 10 11 move by 1 each: by 5 / (3 * 1 + 2 * 10.5) of their length
    last, _ = found()
    options = OPTIONS | {"interest_method": "dpc_knn"}
    with caplog.at_level(logging.INFO):
        kept = discover((TOKENS + 1)[PRESENT], PRESENT, options | {"interest_moved": 0.21}, 0, last)
    assert kept is None and "interests are kept: tokens moved by 20.83%" in caplog.text
    interests, health = found(TOKENS + 1, last=last, interest_moved=0.2)
    assert health.moved == pytest.approx(5 / 24)
    assert health.changed_share == 0
    assert interests.centroids.flatten().tolist() == [2.0, 11.5]
    # without a threshold, and for the first time, whatever it is
    assert found(last=last)[1].moved == 0
    assert found(interest_moved=9.0)[1].moved == 1


def test_only_a_warm_start_goes_on_from_the_last_interests() -> None:
    # from {10, 11} and the rest no token of another group comes in: the names are kept, too
    last = Interests(torch.tensor([[-1, -1], [1, 0], [1, 0], [1, -1]]), torch.zeros(2, 1))
    for _ in range(3):
        interests, health = found(method="kmeans", last=last, interest_warm_start=True)
        assert torch.equal(interests.ids, last.ids) and health.changed_share == 0
    stuck = torch.tensor([[-1, -1], [0, 1], [1, 1], [1, -1]])  # 0 alone; 1 2 10 11: no k-means end
    interests, _ = found(method="kmeans", last=Interests(stuck, torch.zeros(2, 1)))
    assert interests.centroids.sort(0).values.flatten().tolist() == [1.0, 10.5]


def test_auto_takes_what_is_fast_and_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = EXACT_TOKENS["cpu"]
    method, reason = choose(limit, 300, 20, CPU)
    assert method == "dpc_knn" and f"auto: {limit:,} tokens, at most {limit:,}; 6" in reason
    method, reason = choose(limit + 1, 300, 20, CPU)
    assert method == "dpc_knn_ivf" and f"more than {limit:,}" in reason
    method, reason = choose(10**9, 300, 10**8, CPU)
    assert method == "kmeans" and "auto: k 100,000,000 for 1,000,000,000 tokens" in reason
    monkeypatch.setitem(sys.modules, "faiss", None)  # as where it is absent
    method, reason = choose(limit + 1, 300, 20, CPU)
    assert method == "dpc_knn" and "no faiss" in reason


def test_a_refresh_is_one_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        found(method="auto")
    assert caplog.text.count("\n") == 1
    assert "interests by dpc_knn (auto: 5 tokens, at most 30,000; 512 MiB of " in caplog.text
    assert "2 of 2 used, of 2 to 3 tokens (median 2, largest 60.0%)" in caplog.text
