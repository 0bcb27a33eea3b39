"""Augmented copies of a batch, for the sequence-sequence contrast of pre-training."""

from typing import Any

import torch
from recbole.data.interaction import Interaction

from recbole_missrec.data.augmentation import augment
from recbole_missrec.model.packing import Copies, PackedInteraction, Packer


class CopyingPacker:
    """Packs batches as a ``Packer`` does, together with an augmented copy of each history.

    Draws come from PyTorch's generator of the CPU, which checkpoints keep.

    Args:
        packer: of the batches.
    """

    def __init__(self, packer: Packer) -> None:
        self.packer = packer
        self.items = len(packer.slots)
        twice = (torch.cat([table, table]) for table in (packer.interest_ids, packer.slots))
        self.copying = packer.over(*twice)

    def __call__(self, dataset: Any, interaction: Interaction) -> PackedInteraction:
        """Pack a batch of RecBole and its copies."""
        item_seq, lengths = (interaction[field].cpu() for field in self.packer.fields)
        copy = augment(item_seq, lengths, torch.default_generator)
        items = copy.items + self.items * copy.replaced  # [rows, width]
        copies = Copies(
            packed=self.copying.pack(items, copy.lengths),
            history=item_seq.unique(dim=0, return_inverse=True)[1],
        )
        packed = self.packer.pack(item_seq, lengths)
        return PackedInteraction(interaction.interaction, packed, copies)
