"""Rows of a history and its next item, kept as pointers and gathered when they are asked for."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import Tensor


class Histories(Mapping[str, Tensor]):
    """Columns of rows that point into the interactions, these sorted by user and time.

    Interaction ``ends[r]`` is row ``r``'s next item, the ``lengths[r]`` before it are its history.
    A column that is read whole is gathered then, as RecBole stores it, and kept.
    Memory: the interactions once and 16 bytes a row. A list column that is read whole takes
    ``rows * width`` entries more, and as many int64 while it is gathered.

    Args:
        events: field -> ``[interactions + 1, ...]``; the last entry is zeros, which padding reads.
        lists: column of the histories -> field of ``events``.
        length_column: column of the histories' lengths.
        width: of a list column; no history is longer.
        ends: int64 ``[rows]``.
        lengths: int64 ``[rows]``, at least 1.
    """

    def __init__(
        self,
        events: dict[str, Tensor],
        lists: dict[str, str],
        length_column: str,
        width: int,
        ends: Tensor,
        lengths: Tensor,
    ) -> None:
        self.events, self.lists = events, lists
        self.length_column, self.width = length_column, width
        self.ends, self.lengths = ends, lengths
        self._columns = [*events, length_column, *lists]
        self._whole: dict[str, Tensor] = {}

    def take(self, index: Any) -> "Histories":
        """The rows of an index: a number, a slice, or numbers or bools of any kind."""
        if isinstance(index, np.ndarray):
            index = torch.from_numpy(index)
        taken = copy.copy(self)
        taken.ends, taken.lengths = self.ends[index], self.lengths[index]
        taken._columns, taken._whole = self._columns.copy(), {}
        return taken

    def gather(self, width: int) -> dict[str, Tensor]:
        """All columns, lists ``[rows, width, ...]``; ``width`` is at least the longest history."""
        return {column: self._gather(column, width) for column in self}

    def _gather(self, column: str, width: int) -> Tensor:
        if column == self.length_column:
            return self.lengths
        if column not in self.lists:
            return self.events[column][self.ends]  # [rows, ...]
        offsets = torch.arange(width)  # [width]
        positions = (self.ends - self.lengths)[..., None] + offsets  # [rows, width]
        positions.masked_fill_(offsets >= self.lengths[..., None], -1)
        return self.events[self.lists[column]][positions]  # [rows, width, ...]

    def read(self) -> Tensor:
        """Which interactions are in a row, as history or next item, bool ``[interactions + 1]``."""
        ones = torch.ones_like(self.ends)
        change = torch.zeros(len(next(iter(self.events.values()))) + 1, dtype=torch.long)
        change.index_add_(0, self.ends - self.lengths, ones).index_add_(0, self.ends + 1, -ones)
        return change.cumsum(0)[:-1] > 0

    def __getitem__(self, column: str) -> Tensor:
        if column not in self:
            raise KeyError(column)
        if column not in self._whole:
            self._whole[column] = self._gather(column, self.width)
        return self._whole[column]

    def __delitem__(self, column: str) -> None:
        self._columns.remove(column)

    def __contains__(self, column: object) -> bool:
        return column in self._columns

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


class HistoryRows(Interaction):
    """RecBole's ``Interaction`` over ``Histories``: rows taken, sorted or shuffled are pointers."""

    def __init__(self, histories: Histories) -> None:
        self.interaction = histories
        self.length = histories.ends.numel()

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, str):
            return self.interaction[index]
        return HistoryRows(self.interaction.take(index))

    def _reindex(self, index: Any) -> None:
        self.interaction = self.interaction.take(index)

    def gather(self, trimmed: bool) -> Interaction:
        """The rows as RecBole stores them, no wider than their longest history if ``trimmed``."""
        histories = self.interaction
        width = int(histories.lengths.max()) if trimmed else histories.width
        return Interaction(histories.gather(width))


def items_read(rows: Interaction, item_field: str, list_field: str) -> Tensor:
    """Items that the rows hold as history or next item, some of them several times, long.

    Padding may be among them. Time and memory grow as the interactions; where histories stand in
    the rows, as these. Rows that have no histories yet hold items alone.
    """
    if not isinstance(rows, HistoryRows):
        fields = [field for field in (item_field, list_field) if field in rows]
        return torch.cat([torch.as_tensor(rows[field]).flatten() for field in fields])
    histories = rows.interaction
    return histories.events[item_field][histories.read()]


def history_rows(
    events: Interaction, user_field: str, lists: dict[str, str], length_column: str, width: int
) -> HistoryRows:
    """A row for each interaction but a user's first; its history is what came before.

    Time and memory grow as the interactions.

    Args:
        events: the interactions, sorted by user and time.
        user_field: their field of users.
        lists: column of the histories -> field of ``events``.
        length_column: column of the histories' lengths.
        width: the longest history, earlier items are left out.
    """
    _, sizes = torch.unique_consecutive(events[user_field], return_counts=True)  # [users]
    starts = torch.repeat_interleave(sizes.cumsum(0) - sizes, sizes)  # [interactions]
    before = torch.arange(len(starts)) - starts  # [interactions]
    ends = before.nonzero().squeeze(1)  # [rows]
    padded = {
        field: torch.cat([values, torch.zeros_like(values[:1])])  # [interactions + 1, ...]
        for field, values in events.interaction.items()
    }
    lengths = before[ends].clamp(max=width)  # [rows]
    return HistoryRows(Histories(padded, lists, length_column, width, ends, lengths))
