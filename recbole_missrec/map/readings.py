"""How the model reads the histories of some users, before their test item."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from recbole_missrec.errors import UsageError, nearest
from recbole_missrec.map.attention import Attention, attention
from recbole_missrec.model.missrec import MISSRec

DRAWN = 5  # users, where none is asked for


@dataclass(frozen=True)
class Reading:
    """A user's history and the attention to it.

    Attributes:
        user: raw token.
        items: internal ids, oldest first, as many as the model reads, ``[length]``.
        target: internal id of the item that came next, the one of the test.
        attention: of the model.
    """

    user: str
    items: list[int]
    target: int
    attention: Attention


def choose_rows(test: Any, users: Sequence[str], seed: int) -> list[int]:
    """The last test row of each user who is asked for, or of a few drawn at random.

    Args:
        test: the test part, a RecBole data set.
        users: raw tokens; none to draw ``DRAWN``.
        seed: of the draw.

    Raises:
        UsageError: no such user, or one without a test row.
    """
    ids = test.inter_feat[test.uid_field].numpy()  # [rows]
    there, from_end = np.unique(ids[::-1], return_index=True)
    last = dict(zip(there.tolist(), (len(ids) - 1 - from_end).tolist(), strict=True))
    if not users:
        drawn = np.random.default_rng(seed).permutation(there)[:DRAWN]
        return [last[user] for user in drawn.tolist()]
    known = test.field2token_id[test.uid_field]
    for user in users:
        if not known.get(user):  # 0 is padding
            raise UsageError(f"--users={user}: no such user; {nearest(user, list(known)[1:])}")
        if known[user] not in last:
            why = "too few interactions, or max_eval_users"
            raise UsageError(f"--users={user}: has no test row: {why}")
    return [last[known[user]] for user in users]


def read(model: MISSRec, test: Any, rows: Sequence[int]) -> list[Reading]:
    """Let a model read some test rows, one at a time.

    Args:
        model: in evaluation mode.
        test: the test part, a RecBole data set.
        rows: which of it.
    """
    readings = []
    for row in rows:
        history = test[torch.tensor([row])]
        length = int(history[model.ITEM_SEQ_LEN])
        readings.append(
            Reading(
                user=str(test.id2token(test.uid_field, int(history[test.uid_field]))),
                items=history[model.ITEM_SEQ][0, :length].tolist(),
                target=int(history[test.iid_field]),
                attention=attention(model, history.to(model.device)),
            )
        )
    return readings
