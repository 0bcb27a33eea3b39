"""The same training rows for every sequential model, and no batch wider than it needs to be."""

from typing import Any

import numpy as np
from recbole.data.interaction import Interaction

# Models that give the same scores for a batch cut to its longest history, shown by a test. Others
# have layers of a fixed width or draw masks over it, and keep RecBole's padding.
TRIMMED_MODELS = ("MISSRec", "SASRec", "GRU4Rec")


def with_shared_rows(dataset_class: type) -> type:
    """Data set class that honours ``max_train_prefixes`` and ``trim_batches``.

    Of each user's training rows (a history and its next item) only the last
    ``max_train_prefixes`` are kept, the same for every model; validation, test and the candidates
    do not change. With ``trim_batches`` a batch's histories are cut to the longest among them.
    """

    class SharedRows(dataset_class):  # type: ignore[misc]
        def build(self) -> list[Any]:
            train, valid, test = super().build()
            cap = self.config["max_train_prefixes"]
            if cap is not None:
                users = train.inter_feat[self.uid_field].numpy()
                train.inter_feat = train.inter_feat[last_rows(users, cap)]
            return [train, valid, test]

        @property
        def _trims(self) -> bool:
            """Sampled evaluation joins users' rows, which then must be of one width."""
            full = set(self.config["eval_args"]["mode"].values()) == {"full"}
            return full and self.config["trim_batches"] and self.config["model"] in TRIMMED_MODELS

        def __getitem__(self, index: Any, join: bool = True) -> Interaction:
            rows = super().__getitem__(index, join)
            if self._trims:
                return trim(rows, self.item_list_length_field, self.config["LIST_SUFFIX"])
            return rows

    SharedRows.__name__ = dataset_class.__name__
    return SharedRows


def trim(rows: Interaction, length_field: str, list_suffix: str) -> Interaction:
    """Cut right-padded lists, ``[rows, width]``, to the longest history among the rows."""
    longest = int(rows[length_field].max())
    return Interaction(
        {
            field: value[:, :longest] if field.endswith(list_suffix) else value
            for field, value in rows.interaction.items()
        }
    )


def last_rows(groups: np.ndarray, count: int) -> np.ndarray:
    """Indices of the last ``count`` rows of each group, in their order.

    >>> last_rows(np.array([1, 1, 2, 1, 2]), 2)
    array([1, 2, 3, 4])
    """
    order = np.argsort(groups, kind="stable")  # rows group by group
    _, starts, sizes = np.unique(groups[order], return_index=True, return_counts=True)
    from_end = np.repeat(starts + sizes, sizes) - np.arange(len(groups))  # 1 is a group's last
    return np.sort(order[from_end <= count])
