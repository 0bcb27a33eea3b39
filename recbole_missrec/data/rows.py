"""The same training rows for every sequential model, and no batch wider than it needs to be."""

from typing import Any

import torch
from recbole.data.dataset import SequentialDataset
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_missrec import processes
from recbole_missrec.data.groups import last_rows
from recbole_missrec.data.histories import HistoryRows, history_rows
from recbole_missrec.data.preparation import ArrayDataset

# Models that give the same scores for a batch cut to its longest history, shown by a test. Others
# have layers of a fixed width or draw masks over it, and keep RecBole's padding.
TRIMMED_MODELS = (
    "MISSRec",
    "UniSRec",
    "VQRec",
    "SASRecContent",
    "LastItem",
    "SASRec",
    "GRU4Rec",
)


def prepared_by_arrays(dataset_class: type[Any]) -> type:
    """Data set class that gives what another gives, by array operations.

    A sequential one gets shared rows, too. Only where it makes them as RecBole's
    ``SequentialDataset`` does are they pointers; a class may have an augmentation of its own.
    """
    mixin: type = ArrayDataset
    if issubclass(dataset_class, SequentialDataset):
        augmentation = dataset_class.data_augmentation
        mixin = PointerRows if augmentation is SequentialDataset.data_augmentation else SharedRows
    return type(dataset_class.__name__, (mixin, dataset_class), {})


class SharedRows(ArrayDataset, SequentialDataset):
    """Honours ``max_train_prefixes`` and ``trim_batches``.

    Of each user's training rows (a history and its next item) only the last
    ``max_train_prefixes`` are kept, the same for every model; validation, test and the candidates
    do not change. With ``trim_batches`` a batch's histories are cut to the longest among them.
    """

    inter_feat: Any

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
        rows = self.inter_feat[index]
        if isinstance(rows, HistoryRows):
            rows = rows.gather(self._trims)
        elif self._trims:
            rows = trim(rows, self.item_list_length_field, self.config["LIST_SUFFIX"])
        return self.join(rows) if join else rows


class PointerRows(SharedRows):
    """Keeps a row as a pointer into the sorted interactions until a batch asks for its lists."""

    def data_augmentation(self) -> None:
        """What RecBole's gives: a row for each interaction but a user's first."""
        self._aug_presets()
        self._check_field("uid_field", "time_field")
        self.sort(by=[self.uid_field, self.time_field], ascending=True)
        events = self.inter_feat
        lists = {
            getattr(self, f"{field}_list_field"): field
            for field in events
            if field != self.uid_field
        }
        self.inter_feat = history_rows(
            events, self.uid_field, lists, self.item_list_length_field, self.max_item_list_len
        )


def trim(rows: Interaction, length_field: str, list_suffix: str) -> Interaction:
    """Cut right-padded lists, ``[rows, width]``, to the longest history among the rows."""
    longest = int(rows[length_field].max())
    return Interaction(
        {
            field: value[:, :longest] if field.endswith(list_suffix) else value
            for field, value in rows.interaction.items()
        }
    )


def shared_rows(batch: int) -> Tensor:
    """Rows of a batch that the processes share, as many for each: row i is of process i mod W.

    Those beyond a multiple of W are left out: in the last batch of an epoch or, where batches do
    not mix them, of a data set; in each where W does not divide ``train_batch_size``. Where there
    are fewer than W, some are taken twice. With one process these are all rows.
    """
    world = processes.world_size()
    return torch.arange(max(1, batch // world) * world) % batch


def own_rows(dataset: Any, batch: Interaction) -> Interaction:
    """The rows of a training batch that are this process's; takes the place of a ``transform``."""
    return batch[shared_rows(len(batch))[processes.rank() :: processes.world_size()]]
