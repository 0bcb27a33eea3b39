"""Batches for training: this process's rows of them, modalities left out, augmented copies."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_missrec import processes
from recbole_missrec.data.augmentation import Augmented, augment
from recbole_missrec.data.rows import shared_rows
from recbole_missrec.model.packing import Batch, Copies, PackedInteraction, Packer


def modality_rates(given: Any, modalities: Sequence[str]) -> Tensor:
    """Rates ``[modalities]`` of an option that has one for all, or one for each that it names.

    >>> modality_rates({"image": 0.5}, ["text", "image"])
    tensor([0.0000, 0.5000])
    """
    rates = given if isinstance(given, dict) else dict.fromkeys(modalities, given)
    return torch.tensor([float(rates.get(m, 0)) for m in modalities])


class LeftOut(NamedTuple):
    """Modalities that a batch does without: modality dropout.

    Attributes:
        rates: how likely each is left out, ``[modalities]``.
        of: ``sequences``, where a row is read and scored without; ``items``, which lack it in all
            histories and as candidates; or ``both``, each at these rates.
        present: which items have which modalities, bool ``[modalities, items]``.
        slots_of: tokens that such items give a history, bool ``[items, slots]``.
    """

    rates: Tensor
    of: str
    present: Tensor
    slots_of: Callable[[Tensor], Tensor]

    @classmethod
    def by(
        cls, options: Any, present: Tensor, slots_of: Callable[[Tensor], Tensor]
    ) -> "LeftOut | None":
        """What the options ask for: one rate, or one for each modality; None where nothing is to be
        left out, or would leave nothing."""
        rates = modality_rates(options["modality_dropout"], options["modalities"])
        if len(rates) == 1 or not rates.any():
            return None
        return cls(rates, options["modality_dropout_of"], present, slots_of)

    def draw(self, there: Tensor, generator: torch.Generator) -> Tensor:
        """What is kept of what is there; never nothing of something.

        Args:
            there: of some rows or items, bool ``[modalities, number]``.
            generator: of the draws.
        """
        kept = there & (torch.rand(there.shape, generator=generator) >= self.rates[:, None])
        return kept | (there & ~kept.any(0))


class TrainingPacker:
    """Packs the rows that a process has of a batch, where wanted with augmented copies of them.

    Each process is given the whole batch, which has the same rows and the same draws for all: what
    it needs to know of the others' rows it need not ask for.

    Args:
        packer: of any rows.
        target: field of the next items.
        copies: whether there are to be copies.
        seed: of their draws.
        left_out: modalities that batches do without, None for none.
    """

    def __init__(
        self, packer: Packer, target: str, copies: bool, seed: int, left_out: LeftOut | None
    ) -> None:
        self.packer, self.target, self.copies = packer, target, copies
        self.left_out = left_out
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
        packer, kept, present = self.packer, None, None
        if self.left_out and self.left_out.of != "items":
            every = torch.ones(len(self.left_out.rates), len(lengths), dtype=torch.bool)
            kept = self.left_out.draw(every, self.generator)[:, mine]  # [modalities, rows]
        if self.left_out and self.left_out.of != "sequences":
            present = self.left_out.draw(self.left_out.present, self.generator)
            interest_ids = packer.interest_ids.masked_fill(~present.T, packer.none)
            packer = packer.over(interest_ids, self.left_out.slots_of(present))
        packed = packer.pack(item_seq[mine], lengths[mine], kept)
        batch = Batch(interaction[self.target].cpu()[rows], own, present)
        return PackedInteraction(fields, packed, batch, copies)

    def _copies(self, copy: Augmented, item_seq: Tensor, rows: Tensor, mine: Tensor) -> Copies:
        items = copy.items + self.items * copy.replaced  # [batch, width]
        history = item_seq.unique(dim=0, return_inverse=True)[1]  # [batch]
        return Copies(self.copying.pack(items[mine], copy.lengths[mine]), history[rows])
