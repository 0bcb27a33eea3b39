"""Augmented histories: what is kept and in which order, and the rates of the draws."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from recbole_missrec.data.augmentation import Augmented, augment


def random_histories(rows: int, width: int = 9) -> tuple[Tensor, Tensor]:
    """Histories of distinct items, all lengths from 1 to the width among them."""
    generator = torch.Generator().manual_seed(5)
    lengths = torch.arange(rows) % width + 1
    items = torch.rand(rows, 40, generator=generator).argsort(1)[:, :width] + 1
    return items.masked_fill(torch.arange(width) >= lengths[:, None], 0), lengths


def draw(items: Tensor, lengths: Tensor, seed: int = 0, **options: Any) -> Augmented:
    return augment(items, lengths, torch.Generator().manual_seed(seed), **options)


def within(found: int, draws: int, p: float) -> bool:
    """Whether a number of hits is within five standard deviations of what is expected."""
    return abs(found - draws * p) <= 5 * math.sqrt(draws * p * (1 - p))


def test_every_copy_is_a_subsequence_that_begins_with_the_first_item() -> None:
    items, lengths = random_histories(500)
    copies = draw(items, lengths, item_drop_share=1.0, rate=0.6)
    for history, length, copy, kept in zip(
        items.tolist(), lengths.tolist(), copies.items.tolist(), copies.lengths.tolist(),
        strict=True,
    ):  # fmt: skip
        assert copy[0] == history[0]
        assert copy[:kept] == [item for item in history[:length] if item in copy[:kept]]
        assert copy[kept:] == [0] * (len(copy) - kept)
        assert 1 <= kept <= length
    assert not copies.replaced.any()
    assert copies.items.shape == items.shape


def test_items_that_occur_twice_keep_their_order() -> None:
    items = torch.tensor([[4, 4, 4, 2, 4]]).expand(300, 5)
    copies = draw(items, torch.full((300,), 5), item_drop_share=1.0, rate=0.5)
    for copy, length in zip(copies.items.tolist(), copies.lengths.tolist(), strict=True):
        assert copy[:length].count(2) <= 1 and set(copy[:length]) <= {2, 4}
        assert 2 not in copy[:length] or copy[:length].index(2) <= 3


def test_what_is_dropped_is_dropped_of_all_that_belongs_to_the_item() -> None:
    # Modalities are looked up by item: the copy of looked-up rows is the look-up of the copy.
    items, lengths = random_histories(200)
    table = torch.randperm(41, generator=torch.Generator().manual_seed(1))
    copies = draw(items, lengths)
    looked_up = draw(table[items].masked_fill(items == 0, 0), lengths)
    assert torch.equal(copies.lengths, looked_up.lengths)
    real = torch.arange(items.shape[1]) < copies.lengths[:, None]
    assert torch.equal(table[copies.items][real], looked_up.items[real])


def test_rates() -> None:
    rows, width = 20_000, 6
    items = torch.arange(1, width + 1).expand(rows, width)
    copies = draw(items, torch.full((rows,), width))
    unchanged = (copies.lengths == width) & ~copies.replaced.any(1)
    chance_unchanged = 0.9 * 0.8 ** (width - 1) + 0.1 * 0.8**width
    assert within(int(unchanged.sum()), rows, chance_unchanged)
    dropped = copies.lengths < width
    assert within(int(dropped.sum()), rows, 0.9 * (1 - 0.8 ** (width - 1)))
    for place in range(width):
        kept = (copies.items == place + 1).any(1)
        assert within(int(kept.sum()), rows, 1.0 if place == 0 else 1 - 0.9 * 0.2)
        assert within(int(copies.replaced[:, place].sum()), rows, 0.1 * 0.2)
    assert not (dropped & copies.replaced.any(1)).any()  # one or the other


def test_draws_of_items_are_independent() -> None:
    rows = 20_000
    items = torch.arange(1, 4).expand(rows, 3)
    copies = draw(items, torch.full((rows,), 3), item_drop_share=1.0, rate=0.3)
    for length, chance in ((1, 0.3**2), (2, 2 * 0.3 * 0.7), (3, 0.7**2)):
        assert within(int((copies.lengths == length).sum()), rows, chance)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_ends_of_the_range(rate: float) -> None:
    items, lengths = random_histories(30)
    real = items > 0
    by_items = draw(items, lengths, item_drop_share=1.0, rate=rate)
    assert torch.equal(by_items.lengths, lengths if rate == 0 else torch.ones_like(lengths))
    by_words = draw(items, lengths, item_drop_share=0.0, rate=rate)
    assert torch.equal(by_words.items, items) and torch.equal(by_words.lengths, lengths)
    assert torch.equal(by_words.replaced, real & bool(rate))  # the first too, padding never


def test_the_seed_decides_everything_and_the_input_stays() -> None:
    items, lengths = random_histories(50)
    before = items.clone(), lengths.clone()
    first, again, other = (draw(items, lengths, seed) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.items, other.items)
    assert torch.equal(items, before[0]) and torch.equal(lengths, before[1])


def test_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    draw(*random_histories(5))
    assert torch.equal(torch.get_rng_state(), state)
