"""A batch as the model reads it: histories and their distinct interests, laid out on the CPU."""

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_missrec.model.layout import (
    Layout,
    Queries,
    all_queries,
    concatenate,
    inverse,
    last_queries,
    last_slots,
    lay_out,
    widen,
)


class Packed(NamedTuple):
    """A batch, laid out.

    Attributes:
        items: distinct items of the histories, ascending, 0 among them if there is padding, long.
        item: which of ``items`` stands in each place of the histories, long ``[places]``.
        position: of each place in its history, long ``[places]``.
        history: layout of the history tokens, one or several to a place.
        last: slots of the last item of each laid-out history, long ``[rows * times]``.
        interests: layout of the distinct interests of each row.
        distinct: interests of the batch, ascending, that for none among them if a slot is of it.
        interest: which of ``distinct`` stands in each slot, long ``[interest slots]``.
        recent: position of its last item in the history, long ``[interest slots]``; None unless
            asked for.
        read: the slots that the decoder reads; None without a decoder.
        everyone: all slots of the decoder as queries; None if it has one layer.
        both: history and interest tokens in one layout; None unless the structure asks for it.
        restore: where the decoder or encoder has each row, long ``[rows]``.
        kept: which modalities each row is read and scored by, bool ``[modalities, rows]``; None
            for all.
    """

    items: Tensor
    item: Tensor
    position: Tensor
    history: Layout
    last: Tensor
    interests: Layout
    distinct: Tensor
    interest: Tensor
    recent: Tensor | None
    read: Queries | None
    everyone: Queries | None
    both: tuple[Layout, Tensor, Tensor] | None
    restore: Tensor
    kept: Tensor | None


class Batch(NamedTuple):
    """A whole training batch, of which a process has some rows.

    Attributes:
        targets: next item of each row of the batch, long ``[batch]``.
        own: which rows of the batch this process has, long ``[rows]``.
        present: which items have which modalities in this batch, bool ``[modalities, items]``;
            None for those that they have.
    """

    targets: Tensor
    own: Tensor
    present: Tensor | None = None


class Copies(NamedTuple):
    """Augmented copies of the rows of a process.

    Attributes:
        packed: their packed form; an item i with augmented features is item i + number of items.
        history: the same number for rows of the batch with equal histories, long ``[batch]``.
    """

    packed: Packed
    history: Tensor


class PackedInteraction(Interaction):
    """RecBole's batch together with its packed form; both move to a device at once."""

    def __init__(
        self,
        interaction: dict[str, Tensor],
        packed: Packed,
        batch: Batch | None = None,
        copies: Copies | None = None,
    ) -> None:
        super().__init__(interaction)
        self.packed, self.batch, self.copies = packed, batch, copies

    def to(self, device: Any, selected_field: Any = None) -> "PackedInteraction":
        """Copy to a device; from pinned memory the packed form does so without waiting."""
        fields = super().to(device, selected_field).interaction
        forms = _each(
            (self.packed, self.batch, self.copies),
            lambda tensor: tensor.to(device, non_blocking=True),
        )
        return PackedInteraction(fields, *forms)

    def pin_memory(self) -> "PackedInteraction":
        """Copy to pinned memory; PyTorch's loaders call it where they are asked to pin."""
        fields = {name: value.pin_memory() for name, value in self.interaction.items()}
        forms = _each((self.packed, self.batch, self.copies), Tensor.pin_memory)
        return PackedInteraction(fields, *forms)


def _each(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Nested tuples with each tensor changed."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, tuple):
        parts = [_each(part, change) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value


def at_least_one(slots: Tensor) -> Tensor:
    """The first slot in addition where an item has none, bool ``[items, slots]``."""
    first = slots[:, :1] | ~slots.any(1, keepdim=True)
    return torch.cat([first, slots[:, 1:]], 1)


class Packer:
    """Packs batches for a model as it is now; takes the place of RecBole's ``transform``.

    Args:
        interest_ids: interest of each item's tokens, long ``[items, modalities]`` on the CPU;
            the highest, ``none``, stands for an absent modality.
        none: that number.
        slots: which tokens an item gives a history, bool ``[items, times]`` on the CPU.
        structure: of the model; ``interest_queries`` in place of ``encoder_decoder`` with those.
        decoder_layers: number of layers.
        item_seq: field of the histories.
        lengths: field of their lengths.
        recency: whether interests carry the position of their last item.
    """

    def __init__(
        self,
        interest_ids: Tensor,
        none: int,
        slots: Tensor,
        structure: str,
        decoder_layers: int,
        item_seq: str,
        lengths: str,
        recency: bool = False,
    ) -> None:
        self.interest_ids, self.none, self.slots = interest_ids, none, slots
        self.structure, self.decoder_layers = structure, decoder_layers
        self.fields, self.recency = (item_seq, lengths), recency

    def over(self, interest_ids: Tensor, slots: Tensor) -> "Packer":
        """The same for other items.

        Args:
            interest_ids: of their tokens, long ``[items, modalities]``.
            slots: bool ``[items, times]``.
        """
        other = copy.copy(self)
        other.interest_ids, other.slots = interest_ids, slots
        return other

    def __call__(self, dataset: Any, interaction: Interaction) -> PackedInteraction:
        """Pack a batch of RecBole."""
        item_seq, lengths = (interaction[field].cpu() for field in self.fields)
        return PackedInteraction(interaction.interaction, self.pack(item_seq, lengths))

    def pack(self, item_seq: Tensor, lengths: Tensor, kept: Tensor | None = None) -> Packed:
        """Lay a batch out.

        Args:
            item_seq: histories, padded on the right, long ``[rows, width]``.
            lengths: of the histories, at least 1, long ``[rows]``.
            kept: which modalities each row is read by, bool ``[modalities, rows]``; None for all.
        """
        places = lay_out(lengths)
        history_items = item_seq[places.order[places.row], places.position]  # [places]
        history_items = history_items.masked_fill(places.pad, 0)
        items, item = history_items.unique(return_inverse=True)
        times, history = self.slots.shape[1], places
        interest_ids = self.interest_ids[history_items]  # [places, modalities]
        slots = self.slots[history_items]  # [places, times]
        if kept is not None:
            left_out = ~kept.T[places.order[places.row]]  # [places, modalities]
            interest_ids = interest_ids.masked_fill(left_out, self.none)
            slots = at_least_one(slots & ~left_out) if times > 1 else slots
        if times > 1:
            history = widen(places, slots)
        interests, interest_ids, recent = self._interests(interest_ids, places)
        distinct, interest = interest_ids.unique(return_inverse=True)

        read = everyone = both = None
        order = history.order
        if self.structure == "item_queries":
            read = last_queries(history, lengths, times, interests)
            if self.decoder_layers > 1:
                everyone = all_queries(history, interests)
        elif self.structure == "interest_queries":
            read = everyone = all_queries(interests, history)
            order = interests.order
        elif self.structure == "no_decoder":
            both = concatenate(history, interests)
        return Packed(
            items=items,
            item=item,
            position=places.position,
            history=history,
            last=last_slots(history, lengths, times),
            interests=interests,
            distinct=distinct,
            interest=interest,
            recent=recent,
            read=read,
            everyone=everyone,
            both=both,
            restore=inverse(order),
            kept=kept,
        )

    def _interests(self, ids: Tensor, places: Layout) -> tuple[Layout, Tensor, Tensor | None]:
        """Distinct interests of each row: their layout, the id and the last place of each slot.

        A row without any interest has one slot, of none.

        Args:
            ids: of the tokens in each place, long ``[places, modalities]``.
            places: layout of the histories.
        """
        rows, base = len(places.order), self.none + 1
        row = places.order[places.row][:, None].expand_as(ids)
        known = ids < self.none
        found = (row * base + ids)[known]
        keys = found.unique()  # row by row, ascending
        counts = torch.bincount(keys // base, minlength=rows)  # [rows]
        layout = lay_out(counts.clamp(min=1))
        first = (counts.cumsum(0) - counts)[layout.order]  # [laid-out rows]
        absent = layout.position >= counts[layout.order][layout.row]
        place = (first[layout.row] + layout.position).masked_fill(absent, len(keys))
        recent = None
        if self.recency:
            position = places.position[:, None].expand_as(ids)[known]
            last = torch.zeros_like(keys).scatter_reduce(
                0, torch.searchsorted(keys, found), position, "amax"
            )
            recent = F.pad(last, (0, 1))[place]
        return layout, F.pad(keys % base, (0, 1), value=self.none)[place], recent
