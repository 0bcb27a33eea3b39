"""Discovery: absent tokens take no part; ids, centroids and health are what they say."""

import math

import pytest
import torch

from recbole_missrec.interests.discovery import discover, num_interests
from recbole_missrec.interests.kmeans import kmeans

# items 0 ... 3, two modalities; the padding item and one image are absent
TOKENS = torch.tensor([[[9.0], [9.0]], [[0.0], [10.0]], [[1.0], [11.0]], [[2.0], [99.0]]])
PRESENT = torch.tensor([[False, False], [True, True], [True, True], [True, False]])


@pytest.mark.parametrize("method", ["dpc_knn", "kmeans"])
def test_two_interests_of_five_tokens(method: str) -> None:
    interests, health = discover(TOKENS, PRESENT, 0.4, method, 0.2, False, seed=0)
    low, high = sorted(range(2), key=lambda k: float(interests.centroids[k]))
    expected = [[-1, -1], [low, high], [low, high], [low, -1]]
    assert interests.ids.tolist() == expected
    assert interests.centroids[[low, high]].tolist() == [[1.0], [10.5]]
    assert (health.clusters, health.used, health.largest_share) == (2, 2, 0.6)
    entropy = -0.6 * math.log(0.6) - 0.4 * math.log(0.4)
    assert health.perplexity == pytest.approx(math.exp(entropy))


def test_number_of_interests_is_rounded_up() -> None:
    assert num_interests(PRESENT, 0.4) == 2
    assert num_interests(PRESENT, 0.41) == 3
    assert num_interests(PRESENT, 1e-9) == 1


def test_kmeans_is_the_same_for_a_seed_and_copes_with_duplicates() -> None:
    points = torch.tensor([[0.0], [0.0], [4.0], [4.0]])
    first, second = kmeans(points, 3, seed=5), kmeans(points, 3, seed=5)
    assert torch.equal(first[0], second[0])
    assert first[0][0] == first[0][1] != first[0][2] == first[0][3]
    assert sorted(first[0].unique().tolist()) == [0, 1]  # the third stays empty, at the end
    assert first[1][2].tolist() == [0.0]
