"""Batches for training: this process's rows of them, and augmented copies for pre-training."""

from typing import Any

import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_missrec import processes
from recbole_missrec.data.augmentation import Augmented, augment
from recbole_missrec.data.rows import shared_rows
from recbole_missrec.model.packing import Batch, Copies, PackedInteraction, Packer


class TrainingPacker:
    """Packs the rows that a process has of a batch, where wanted with augmented copies of them.

    Each process is given the whole batch, which has the same rows and the same draws for all: what
    it needs to know of the others' rows it need not ask for.

    Args:
        packer: of any rows.
        target: field of the next items.
        copies: whether there are to be copies.
        seed: of their draws.
    """

    def __init__(self, packer: Packer, target: str, copies: bool, seed: int) -> None:
        self.packer, self.target, self.copies = packer, target, copies
        self.items = len(packer.slots)
        twice = (torch.cat([table, table]) for table in (packer.interest_ids, packer.slots))
        self.copying = packer.over(*twice)
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, dataset: Any, interaction: Interaction) -> PackedInteraction:
        """Pack a batch of RecBole."""
        item_seq, lengths = (interaction[field].cpu() for field in self.packer.fields)
        rows = shared_rows(len(lengths))
        own = torch.arange(processes.rank(), len(rows), processes.world_size())
        mine = rows[own]
        copies = None
        if self.copies:
            copy = augment(item_seq, lengths, self.generator)
            copies = self._copies(copy, item_seq, rows, mine)
        fields = interaction[mine.to(interaction[self.target].device)].interaction
        packed = self.packer.pack(item_seq[mine], lengths[mine])
        return PackedInteraction(
            fields, packed, Batch(interaction[self.target].cpu()[rows], own), copies
        )

    def _copies(self, copy: Augmented, item_seq: Tensor, rows: Tensor, mine: Tensor) -> Copies:
        items = copy.items + self.items * copy.replaced  # [batch, width]
        history = item_seq.unique(dim=0, return_inverse=True)[1]  # [batch]
        return Copies(self.copying.pack(items[mine], copy.lengths[mine]), history[rows])
