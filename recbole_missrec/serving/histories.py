"""Histories of raw tokens as the model reads them, without a loop over users or items."""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_missrec.model.history import History
from recbole_missrec.serving.catalogue import Catalogue


class Histories(NamedTuple):
    """What is known of some histories.

    Attributes:
        items: the last known items, oldest first, padded on the right with 0, long
            ``[rows, length]``.
        lengths: 0 where nothing is known, long ``[rows]``.
        unknown: tokens that are in no catalogue and were skipped, long ``[rows]``.
    """

    items: Tensor
    lengths: Tensor
    unknown: Tensor

    def take(self, rows: Any) -> "Histories":
        """Some of them, no wider than their longest."""
        lengths = self.lengths[rows]
        width = max(1, int(lengths.max())) if len(lengths) else 1
        return Histories(self.items[rows, :width], lengths, self.unknown[rows])

    def interaction(self, model: Any) -> Interaction:
        """A batch of RecBole for a model; every length must be at least 1."""
        fields = {model.ITEM_SEQ: self.items, model.ITEM_SEQ_LEN: self.lengths}
        return Interaction(fields).to(model.device)


def flatten(histories: Iterable[Sequence[str]]) -> tuple[list[str], np.ndarray]:
    """Tokens of some histories in one list, and the sizes, int64 ``[rows]``."""
    rows = list(histories)
    sizes = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    return list(chain.from_iterable(rows)), sizes


def look_up(
    catalogue: Catalogue, tokens: Sequence[str] | np.ndarray, sizes: np.ndarray, longest: int
) -> Histories:
    """Find the items of histories; of a long one the last are read.

    Time and memory grow as the tokens, and as rows times ``longest``.

    Args:
        catalogue: of the model.
        tokens: of all histories, one after the other, oldest first, ``[tokens]``.
        sizes: tokens of each, int64 ``[rows]``.
        longest: items that the model reads, at most.
    """
    items = catalogue.rows(tokens)  # [tokens]
    row = np.repeat(np.arange(len(sizes)), sizes)  # [tokens]
    known = items > 0
    unknown = np.bincount(row[~known], minlength=len(sizes))  # [rows]
    return pad(items[known], sizes - unknown, unknown, longest)


def pad(items: np.ndarray, sizes: np.ndarray, unknown: np.ndarray, longest: int) -> Histories:
    """Rows of different lengths as one matrix.

    Args:
        items: of all rows, one after the other, int64 ``[items]``.
        sizes: items of each row, int64 ``[rows]``.
        unknown: int64 ``[rows]``.
        longest: the last items of a row that are kept, at most.
    """
    row = np.repeat(np.arange(len(sizes)), sizes)  # [items]
    lengths = np.minimum(sizes, longest)  # [rows]
    from_end = np.repeat(sizes.cumsum(), sizes) - np.arange(len(items))  # 1 is a row's last
    place = lengths[row] - from_end
    padded = np.zeros((len(sizes), max(1, lengths.max(initial=1))), dtype=np.int64)
    padded[row[place >= 0], place[place >= 0]] = items[place >= 0]
    return Histories(*map(torch.from_numpy, (padded, lengths, unknown)))


class Held(NamedTuple):
    """Each item of each history once, sorted by item.

    Attributes:
        item: long ``[held]``, ascending.
        row: whose history holds it, long ``[held]``.
        last: whether it is the last of that history, bool ``[held]``.
    """

    item: Tensor
    row: Tensor
    last: Tensor

    def within(self, items: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Those that are among some candidates.

        Args:
            items: ascending, long ``[items]``.

        Returns:
            Which of the held, and the row and column of each in a matrix ``[rows, items]``.
        """
        first, last = torch.searchsorted(self.item, items[[0, -1]] + torch.tensor([0, 1])).tolist()
        place = torch.searchsorted(items, self.item[first:last])
        found = (items[place] == self.item[first:last]).nonzero().squeeze(1)
        which = first + found
        return which, self.row[which], place[found]


def held_items(history: History) -> Held:
    """The items of histories.

    Args:
        history: every length at least 1.
    """
    rows = len(history.lengths)
    row = torch.arange(rows)[:, None].expand_as(history.items)
    inside = torch.arange(history.items.shape[1]) < history.lengths[:, None]
    keys = (history.items * rows + row)[inside].unique()  # by item, then by row
    last = history.items.gather(1, history.lengths[:, None] - 1).squeeze(1)  # [rows]
    item, row = keys // rows, keys % rows
    return Held(item, row, last[row] == item)
