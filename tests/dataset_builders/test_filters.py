"""Filters of interactions, on cases that one can follow by eye."""

import numpy as np
import pandas as pd
import pytest

from dataset_builders.filters import by_user_and_time, finish, k_core, repeats, sizes
from recbole_missrec.errors import UsageError
from tests.dataset_builders.raw_files import item_token, rated, user_token


def frame(*rows: tuple[str, str, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])


# Ann and Bob have 2 each only as long as Tea, Jam and Rye stay. Cid's Oat has 1 and goes; Cid then
# has 1 and goes; Rye, without Cid, has 1 and goes. Tea and Jam, with Ann and Bob, stay.
CASCADE = frame(
    ("Cid", "Oat", 1),
    ("Ann", "Tea", 2),
    ("Bob", "Jam", 3),
    ("Cid", "Rye", 4),
    ("Ann", "Jam", 5),
    ("Bob", "Rye", 6),
    ("Bob", "Tea", 7),
)


@pytest.mark.parametrize("kind", [object, "category"])
def test_k_core_goes_on_until_nothing_changes(kind: type | str) -> None:
    kept = k_core(CASCADE.astype({"user_id": kind, "item_id": kind}), 2)
    assert kept.index.tolist() == [1, 2, 4, 6]
    assert list(zip(kept["user_id"], kept["item_id"], strict=True)) == [
        ("Ann", "Tea"),
        ("Bob", "Jam"),
        ("Ann", "Jam"),
        ("Bob", "Tea"),
    ]
    assert (
        kept.dtypes.to_dict() == CASCADE.astype({"user_id": kind, "item_id": kind}).dtypes.to_dict()
    )


@pytest.mark.parametrize(("k", "rows"), [(0, 7), (1, 7), (2, 4), (3, 0)])
def test_k_core_sizes(k: int, rows: int) -> None:
    assert len(k_core(CASCADE, k)) == rows
    assert k_core(CASCADE.iloc[:0], k).empty


def test_five_core_of_the_shared_case() -> None:
    table = pd.DataFrame(rated(), columns=["user_id", "item_id", "rating", "timestamp"])
    assert sizes(table) == "8 users, 9 items, 53 interactions"
    # With product 8, and Hal's rating counted twice, Gus and Hal would stay.
    assert sizes(k_core(table, 5)) == "7 users, 7 items, 43 interactions"
    without = table.drop_duplicates()
    without = without[without["item_id"] != item_token(8)]
    kept = k_core(without, 5)
    assert sizes(kept) == "5 users, 5 items, 25 interactions"
    assert set(kept["user_id"]) == set(map(user_token, ("Ann", "Bob", "Cid", "Dan", "Eve")))
    assert set(kept["item_id"]) == set(map(item_token, range(1, 6)))


@pytest.mark.parametrize("seed", range(5))
def test_k_core_equals_dropping_one_at_a_time(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {"user_id": rng.integers(0, 30, 120), "item_id": rng.integers(0, 30, 120), "timestamp": 0}
    )
    slow = table
    while True:
        few = [
            (column, value)
            for column in ("user_id", "item_id")
            for value, count in slow[column].value_counts().items()
            if count < 3
        ]
        if not few:
            break
        slow = slow[slow[few[0][0]] != few[0][1]]
    pd.testing.assert_frame_equal(k_core(table, 3), slow)
    assert 0 < len(slow) < 120


def test_order_of_time_leaves_equal_times_in_the_order_of_the_rows() -> None:
    rows = frame(("b", "1", 5), ("a", "2", 9), ("b", "3", 2), ("a", "4", 9), ("a", "5", 1))
    ordered = by_user_and_time(rows)
    assert ordered["item_id"].tolist() == ["3", "1", "5", "2", "4"]
    assert ordered.index.tolist() == [0, 1, 2, 3, 4]


def test_repeats_are_of_the_same_user_and_in_a_row() -> None:
    rows = frame(("a", "x", 1), ("a", "x", 2), ("a", "y", 3), ("b", "y", 4), ("b", "x", 5))
    assert repeats(rows).tolist() == [False, True, False, False, False]
    assert repeats(rows.iloc[:0]).tolist() == []


def test_times_beyond_whole_numbers_stay_in_order() -> None:
    kept, _ = finish(frame(("a", "x", 1e20), ("a", "y", 1.0)), 0)
    assert kept["timestamp"].tolist() == [1.0, 1e20]
    kept, _ = finish(frame(("a", "x", 2.0), ("a", "y", 1.0)), 0)
    assert kept["timestamp"].dtype == "int64"


def test_finish_says_what_it_did_and_drops_unused_tokens() -> None:
    rows = CASCADE.assign(rating=5).astype({"user_id": "category", "item_id": "category"})
    kept, steps = finish(rows, 2)
    assert kept.columns.tolist() == ["user_id", "item_id", "timestamp"]
    assert kept["item_id"].tolist() == ["Tea", "Jam", "Jam", "Tea"]
    assert sorted(kept["item_id"].cat.categories) == ["Jam", "Tea"]
    assert steps == [
        ("2-core", "2 users, 2 items, 4 interactions"),
        ("ordered by time", "equal times of a user in the order of the file"),
    ]
    assert [name for name, _ in finish(rows, 0)[1]] == ["ordered by time"]


def test_whole_times_are_written_without_a_point() -> None:
    assert finish(frame(("a", "x", 1.0), ("a", "y", 2.0)), 0)[0]["timestamp"].dtype == np.int64
    assert finish(frame(("a", "x", 1.0), ("a", "y", 2.5)), 0)[0]["timestamp"].tolist() == [1.0, 2.5]


def test_nothing_to_begin_with() -> None:
    with pytest.raises(UsageError, match="^no interactions in the files of the source$"):
        finish(CASCADE.iloc[:0], 0)


@pytest.mark.parametrize(
    ("core", "message"),
    [
        (-1, "--core -1: must be 0 or more; 0 keeps everything"),
        (3, "--core 3: leaves nothing of 3 users, 4 items, 7 interactions; try a lower one"),
    ],
)
def test_a_core_that_cannot_be(core: int, message: str) -> None:
    with pytest.raises(UsageError) as error:
        finish(CASCADE, core)
    assert str(error.value) == message
