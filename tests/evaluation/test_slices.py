"""A metric by slices of the users."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import bootstrap

from recbole_missrec.errors import UsageError
from recbole_missrec.evaluation.slices import slices


def table(hits: list[int] | np.ndarray, **columns: Any) -> pd.DataFrame:
    """Users u0, u1, ... with a hit at 1 or none."""
    return pd.DataFrame(
        {
            "user": [f"u{row}" for row in range(len(hits))],
            "target": "i",
            "better": 1 - np.asarray(hits),
            "equal": 0,
            **columns,
        }
    )


def shown(frame: pd.DataFrame) -> list[tuple]:
    return list(frame[["slice", "users", "mean"]].itertuples(index=False, name=None))


def test_bins_of_popularity() -> None:
    popularity = [0, 1, 2, 3, 5, 6, 10, 11, 50, 51, 9000]
    frame = table([1, 0, 1, 0, 0, 1, 1, 1, 0, 0, 1], popularity=popularity)
    found = slices([frame], "popularity", "Hit", 1)
    assert shown(found) == [
        ("0", 1, 1),
        ("1-2", 2, 1 / 2),
        ("3-5", 2, 0),
        ("6-10", 2, 1),
        ("11-50", 2, 1 / 2),
        ("51+", 2, 1 / 2),
    ]
    assert found[["low", "high"]].to_numpy().tolist() == [
        [1, 1],
        [0, 1],
        [0, 0],
        [1, 1],
        [0, 1],
        [0, 1],
    ]


def test_bins_of_length_without_the_empty_ones() -> None:
    frame = table([1, 0, 1, 1, 0], length=[2, 3, 5, 51, 20])
    assert shown(slices([frame], "length", "hit", 1)) == [
        ("0-2", 1, 1),
        ("3-5", 2, 1 / 2),
        ("11-20", 1, 0),
        ("51+", 1, 1),
    ]


def test_modalities_by_users() -> None:
    names = ["text", "text,image", "", "text,image", "audio"]
    frame = table([1, 0, 1, 1, 0], modalities=names)
    assert shown(slices([frame], "modalities", "hit", 1)) == [
        ("text,image", 2, 1 / 2),
        ("audio", 1, 0),
        ("none", 1, 1),
        ("text", 1, 1),
    ]


def test_ten_categories_and_the_others() -> None:
    names: list = [f"c{n:02}" for n in range(12) for _ in range(2)] + ["c11", None, None, None]
    frame = table(np.arange(len(names)) % 2, category=names)
    found = slices([frame], "category", "hit", 1)
    assert found["slice"].tolist() == ["c11", "none", *(f"c{n:02}" for n in range(8)), "other"]
    assert found["users"].tolist() == [3, 3, *[2] * 8, 6]
    assert set(found["mean"][2:]) == {1 / 2}


@pytest.mark.parametrize("by", ["popularity", "length", "modalities", "category"])
def test_slices_add_up_to_the_whole(by: str) -> None:
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, 100, 200)
    names = [f"c{number % 17}" if number % 5 else "" for number in numbers]
    columns: dict[str, Any] = {"popularity": numbers, "length": numbers, "modalities": names}
    columns["category"] = [name or None for name in names]
    seeds = [table(rng.integers(0, 2, 200), **columns) for _ in range(3)]
    seeds[1] = seeds[1].iloc[::-1]  # rows are found by user and target

    found = slices(seeds, by, "hit", 1, 100)

    assert found["users"].sum() == 200
    whole = np.mean([1 - seed["better"].mean() for seed in seeds])
    assert (found["users"] @ found["mean"]) / 200 == pytest.approx(whole)
    assert (found["low"] <= found["mean"]).all() and (found["mean"] <= found["high"]).all()
    assert len(found) > 3


def test_interval_agrees_with_scipy() -> None:
    hits = np.random.default_rng(0).integers(0, 2, 300)
    found = slices([table(hits, length=[4] * 300)], "length", "hit", 1).iloc[0]
    theirs = bootstrap(
        (hits,), np.mean, method="percentile", random_state=np.random.default_rng(1)
    ).confidence_interval
    width = theirs.high - theirs.low
    assert (found["low"], found["high"]) == pytest.approx(theirs, abs=0.05 * width)


def test_what_is_refused() -> None:
    frame = table([1, 0], length=[3, 4])
    with pytest.raises(UsageError, match="no slices by 'lenght': did you mean 'length'?"):
        slices([frame], "lenght", "hit", 1)
    with pytest.raises(UsageError, match="differ in the length of a target"):
        slices([frame, frame.assign(length=[3, 5])], "length", "hit", 1)
    with pytest.raises(UsageError, match="not of the same users"):
        slices([frame, frame.iloc[:1]], "length", "hit", 1)
