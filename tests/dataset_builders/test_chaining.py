"""Whole sequences out of their rows."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_builders.chaining import Row, chain_rows, rows_of


def test_rows_of_a_sequence() -> None:
    assert rows_of("abcde", 3) == [
        (("a",), "b"),
        (("a", "b"), "c"),
        (("a", "b", "c"), "d"),
        (("b", "c", "d"), "e"),
    ]


def test_rows_in_any_order_chain_to_the_sequence() -> None:
    *train, valid, test = rows_of("abcdefg", 3)
    assert chain_rows(train[::-1], [valid], [test], 3) == list("abcdefg")


def test_shortest_sequence_has_no_training_row() -> None:
    assert chain_rows([], [(("a",), "b")], [(("a", "b"), "c")], 2) == ["a", "b", "c"]


def test_a_recurring_window_is_left_by_each_of_its_rows() -> None:
    """With windows of one item, a leads to b and to c; only b leads back to a."""
    train = [(("a",), "c"), (("a",), "b"), (("b",), "a")]
    assert chain_rows(train, [(("c",), "d")], [(("d",), "e")], 1) == list("abacde")


@given(
    sequence=st.lists(st.sampled_from("ab"), min_size=4, max_size=12),
    cut=st.integers(2, 5),
    order=st.randoms(use_true_random=False),
)
def test_the_result_always_has_the_given_rows(sequence: list[str], cut: int, order: Random) -> None:
    *train, valid, test = rows_of(sequence, cut)
    order.shuffle(train)
    chained = chain_rows(train, [valid], [test], cut)
    assert chained is not None
    rows = rows_of(chained, cut)
    assert (sorted(rows[:-2]), rows[-2:]) == (sorted(train), [valid, test])


TRAIN, VALID, TEST = rows_of("abcde", 9)[:2], rows_of("abcde", 9)[2:3], rows_of("abcde", 9)[3:]


@pytest.mark.parametrize(
    ("train", "valid", "test"),
    [
        (TRAIN[1:], VALID, TEST),  # the first row is missing
        (TRAIN[:1], VALID, TEST),  # one within is missing
        (TRAIN, VALID, []),
        (TRAIN, [], TEST),
        (TRAIN, TEST, VALID),
        (TRAIN + TRAIN[:1], VALID, TEST),  # one is there twice
        (TRAIN + [(("x", "y"), "z")], VALID, TEST),  # one is of another sequence
        (TRAIN, VALID, TEST * 2),
        (TRAIN, VALID, [(("a", "b", "c", "x"), "e")]),
    ],
)
def test_rows_of_no_one_sequence(train: list[Row], valid: list[Row], test: list[Row]) -> None:
    assert chain_rows(TRAIN, VALID, TEST, 9) == list("abcde")
    assert chain_rows(train, valid, test, 9) is None
