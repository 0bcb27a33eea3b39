"""Which name is said to be nearest to a wrong one."""

import difflib
from collections.abc import Iterable
from typing import Any

import pytest

from recbole_missrec import errors
from recbole_missrec.errors import nearest


@pytest.mark.parametrize(
    ("name", "known", "said"),
    [
        ("Epoch", ["epochs", "topk"], "did you mean 'epochs'?"),
        ("zz", ["b", "a"], "choose from 'a', 'b'"),
        ("zz5", [f"a{n}" for n in range(30)], "the nearest of 30 is 'a5'"),
    ],
)
def test_the_nearest_name(name: str, known: list[str], said: str) -> None:
    assert nearest(name, known) == said


def test_few_of_very_many_names_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []

    def count(name: str, names: Iterable[str], **how: Any) -> list[str]:
        compared.append(len(names := list(names)))
        return difflib.get_close_matches(name, names, **how)

    monkeypatch.setattr(errors, "get_close_matches", count)
    known = [f"B{n:06d}" for n in range(100_000)]
    assert nearest("b012345x", known) == "did you mean 'B012345'?"
    assert nearest("zz", known).startswith("the nearest in the alphabet of 100000 is 'B0")
    assert nearest("", known).startswith("the nearest in the alphabet of 100000 is 'B0")
    assert max(compared) <= 2 * errors.ALIKE
