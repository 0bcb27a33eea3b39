"""Which test rows are read."""

from types import SimpleNamespace

import pytest
import torch

from recbole_missrec.errors import UsageError
from recbole_missrec.map.readings import choose_rows

# Rows 0 to 5 are of users c, a, c, a, d, c; b has none.
TEST = SimpleNamespace(
    uid_field="user",
    inter_feat={"user": torch.tensor([3, 1, 3, 1, 4, 3])},
    field2token_id={"user": {"[PAD]": 0, "a": 1, "b": 2, "c": 3, "d": 4}},
)


def test_the_last_row_of_each_user() -> None:
    assert choose_rows(TEST, ["c", "a"], seed=0) == [5, 3]


def test_a_few_users_are_drawn() -> None:
    drawn = choose_rows(TEST, [], seed=0)
    assert sorted(drawn) == [3, 4, 5]  # there are but three
    assert choose_rows(TEST, [], seed=0) == drawn
    assert {tuple(choose_rows(TEST, [], seed)) for seed in range(9)} != {tuple(drawn)}


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ("C", "--users=C: no such user; did you mean 'c'?"),
        ("[PAD]", "--users=[PAD]: no such user; choose from 'a', 'b', 'c', 'd'"),
        ("b", "--users=b: has no test row: too few interactions, or max_eval_users"),
    ],
)
def test_users_who_cannot_be_shown(user: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        choose_rows(TEST, ["a", user], seed=0)
    assert str(refused.value) == message
