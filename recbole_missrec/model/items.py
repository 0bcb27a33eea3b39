"""The item side of MISSRec: what items give to histories, and how they are scored."""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recbole_missrec.data.augmentation import RATE
from recbole_missrec.model.fusion import CandidateFusion
from recbole_missrec.model.history import History, HistoryBias, most_taken
from recbole_missrec.model.objectives import chunks
from recbole_missrec.model.packing import Packed, at_least_one


class ItemTable(NamedTuple):
    """Some items, each adapted once.

    Attributes:
        tokens: zero where a modality is absent, ``[modalities, items, dim]``.
        present: which modalities they have, bool ``[modalities, items]``.
        ids: id embeddings, ``[items, dim]``, None without item ids.
        items: which items these are, a slice or long ``[items]``.
    """

    tokens: Tensor
    present: Tensor
    ids: Tensor | None
    items: Any

    def part(self, items: slice) -> "ItemTable":
        """Some of the items, of a table of all."""
        ids = None if self.ids is None else self.ids[items]
        return ItemTable(self.tokens[:, items], self.present[:, items], ids, items)


class ItemSide:
    """Methods of a model that has the parts named here; it makes them.

    Attributes:
        options: configuration of the run.
        modalities: names.
        augmented: those of them that have augmented features.
        n_items: with padding.
        present: which items have which modalities, bool ``[modalities, items]``.
        adapters: modality -> linear layer from features to tokens.
        item_embedding: of ids, None without item ids.
        missing_token: in place of a missing modality, ``[modalities, dim]``; None without.
        without_id: which items have an id embedding of zero: the training never read them; bool
            ``[items]``.
        unseen: which items the training never read, padding among them, bool ``[items]``.
        fusion: of a candidate's modalities.
        history_bias: of candidates that the history holds, None without.
    """

    options: Any
    modalities: list[str]
    augmented: tuple[str, ...]
    n_items: int
    training: bool
    present: Tensor
    adapters: nn.ModuleDict
    item_embedding: nn.Embedding | None
    missing_token: nn.Parameter | None
    without_id: Tensor
    unseen: Tensor
    fusion: CandidateFusion
    history_bias: HistoryBias | None
    _candidates: "ItemTable | None"  # all items, kept for an evaluation pass

    # --- histories --------------------------------------------------------------------------

    def item_tokens(
        self,
        items: Any = slice(None),
        altered: Tensor | None = None,
        present: Tensor | None = None,
    ) -> Tensor:
        """Tokens ``A_m(f_i^m)`` of some items, ``[modalities, items, dim]``.

        Zero where absent; a learned token, where the option ``missing`` asks for it, if the item
        has another modality.

        Args:
            items: a slice or long ``[items]``; all by default.
            altered: which get augmented features, bool ``[items]``; none by default.
            present: which items have which modalities, bool ``[modalities, n_items]``; as the data
                set says by default.
        """
        present = (self.present if present is None else present)[:, items, None]  # [M, items, 1]
        tokens = torch.stack(
            [
                self.adapters[m](self._features(m, items, altered)) * there
                for m, there in zip(self.modalities, present, strict=True)
            ]
        )
        if self.missing_token is None:
            return tokens
        return tokens + self.missing_token[:, None] * (self.counted(present) & ~present)

    def present_tokens(self) -> Tensor:
        """Tokens of all items, item by item, ``[tokens, dim]``; memory is theirs and a chunk's."""
        present = self.present.T  # [n_items, modalities]
        dim = self.options["hidden_size"]
        tokens = self.item_tokens(slice(0, 1)).new_empty(int(present.sum()), dim)
        filled = 0
        for items in chunks(0, self.n_items):
            part = self.item_tokens(items).transpose(0, 1)[present[items]]
            tokens[filled : filled + len(part)] = part
            filled += len(part)
        return tokens

    def _features(self, modality: str, items: Any, altered: Tensor | None) -> Tensor:
        """Features of some items, ``[items, d_m]``, where the adapter is."""
        weight = self.adapters[modality].weight
        rows = getattr(self, f"features_{modality}")[items].to(weight)
        if altered is None or (self.augmented and modality not in self.augmented):
            return rows
        if self.augmented:
            other = getattr(self, f"augmented_{modality}")[items].to(weight)
        else:
            other = F.dropout(rows, RATE)
        return torch.where(altered[:, None], other, rows)

    def item_table(
        self,
        items: Any = slice(None),
        ids: Tensor | None = None,
        altered: Tensor | None = None,
        present: Tensor | None = None,
    ) -> ItemTable:
        """Adapt some items.

        Args:
            items: a slice or long ``[items]``; all by default.
            ids: their id embeddings, where these are at hand, ``[items, dim]``.
            altered: which get augmented features, bool ``[items]``; none by default.
            present: which items have which modalities, bool ``[modalities, n_items]``; as the data
                set says by default.
        """
        if ids is None and self.item_embedding is not None:
            ids = self.item_embedding.weight[items]
        present = self.present if present is None else present
        tokens = self.item_tokens(items, altered, present)
        return ItemTable(tokens, self.counted(present[:, items]), ids, items)

    def counted(self, present: Tensor) -> Tensor:
        """Which tokens items have, learned ones in place of missing ones included.

        Args:
            present: bool ``[modalities, items]``.
        """
        return present if self.missing_token is None else present.any(0).expand_as(present)

    def history_places(self, table: ItemTable, place: Tensor, packed: Packed) -> Tensor:
        """What stands in the places of histories, ``[places, times * dim]``.

        Args:
            table: of the items.
            place: row of the table for each place, long ``[places]``.
            packed: the histories; modalities that a row does not keep are left out.
        """
        if packed.kept is None:
            return F.embedding(place, self.history_inputs(table))
        row = packed.history.row.view(len(place), -1)[:, 0]  # [places]
        kept = packed.kept[:, packed.history.order[row]]  # [modalities, places]
        ids = place.new_zeros(()) if table.ids is None else F.embedding(place, table.ids)
        tokens = [
            F.embedding(place, tokens) * there[:, None]
            for tokens, there in zip(table.tokens, kept, strict=True)
        ]
        if self.options["seq_mm_fusion"] == "add":
            return sum(tokens, ids)
        return torch.cat([token + ids for token in tokens], 1)

    def history_inputs(self, table: ItemTable) -> Tensor:
        """What an item adds to its position in a history, ``[items, times * dim]``."""
        if self.options["seq_mm_fusion"] == "add":
            inputs = table.tokens.sum(0)[:, None]  # [items, 1, dim]
        else:
            inputs = table.tokens.transpose(0, 1)  # [items, M, dim]
        return (inputs if table.ids is None else inputs + table.ids[:, None]).flatten(1)

    def slots_of(self, present: Tensor) -> Tensor:
        """Which tokens an item gives a history, bool ``[items, slots]``.

        ``add``: one. ``contextual``: one a present modality; the first without any.
        """
        if self.options["seq_mm_fusion"] == "add":
            return torch.ones(self.n_items, 1, dtype=torch.bool)
        return at_least_one(self.counted(present).T)  # [items, M]

    # --- candidates -------------------------------------------------------------------------

    def candidates(self, table: ItemTable) -> ItemTable:
        """A table with vectors of length 1."""
        ids = None if table.ids is None else F.normalize(table.ids, dim=-1)
        return table._replace(tokens=F.normalize(table.tokens, dim=-1), ids=ids)

    def score_candidates(
        self, u: Tensor, candidates: ItemTable, kept: Tensor | None = None
    ) -> Tensor:
        """Scores over the temperature.

        Args:
            u: normalised sequence embeddings, ``[batch, dim]``.
            candidates: the items to score.
            kept: which modalities a row is scored by, bool ``[modalities, batch]``; None for all.

        Returns:
            ``[batch, items]``.
        """
        cosines = u @ candidates.tokens.transpose(1, 2)  # [M, batch, items]
        present = candidates.present[:, None]  # [M, 1, items]
        lacks = None
        if kept is not None:
            if self.fusion.lacking is not None:
                lacks = ~present & kept[:, :, None]  # [M, batch, items]
            present = present & kept[:, :, None]  # [M, batch, items]
            cosines = cosines * present
        of_ids = None if candidates.ids is None else u @ candidates.ids.T  # [batch, items]
        return self.fuse(cosines, of_ids, present, candidates.items, u, lacks)

    def fuse(
        self,
        cosines: Tensor,
        of_ids: Tensor | None,
        present: Tensor,
        items: Any,
        u: Tensor,
        lacks: Tensor | None = None,
    ) -> Tensor:
        """Scores over the temperature out of the cosines of sequence embeddings and items.

        Args:
            cosines: with the tokens, ``[M, batch, items]``, 0 where absent.
            of_ids: with the id embeddings, ``[batch, items]``, None without item ids.
            present: bool ``[M, 1, items]``, or with ``batch`` in place of 1.
            items: which items these are, a slice, long ``[items]``, or ``[batch, items]`` where
                each row has its own.
            u: normalised sequence embeddings, ``[batch, dim]``.
            lacks: as of ``CandidateFusion``.

        Returns:
            ``[batch, items]``; an item whose id the training never read is scored without it, and
            one without any modality either ranks last. An evaluation adds the option
            ``unseen_bias`` to the scores of items that the training never read.
        """
        scores = self.fusion(cosines, present, items, u, lacks)  # [batch, items]
        without_id: Any = True
        if of_ids is not None:
            weight, without_id = self.options["id_weight"], self.without_id[items]
            scores = torch.where(without_id, scores, (of_ids + weight * scores) / (1 + weight))
        if self.options["unseen_bias"] and not self.training:
            scores = scores + self.options["unseen_bias"] * self.unseen[items]
        scores = scores.masked_fill(~present.any(0) & without_id, self.lowest_cosine())
        return scores / self.options["temperature"]

    def lowest_cosine(self) -> float | Tensor:
        """In place of the cosine of an item of which nothing is known.

        -1; in an evaluation lower by whatever may be taken from another's score, so that it ranks
        last.
        """
        if self.training:
            return -1.0
        taken = most_taken(self.history_bias) + self.fusion.most_taken()
        return taken - 1.0 + min(0.0, self.options["unseen_bias"])

    def scores(self, u: Tensor, candidates: ItemTable, history: History) -> Tensor:
        """Scores over the temperature, those of items of the history shifted.

        Args:
            u: normalised sequence embeddings, ``[batch, dim]``.
            candidates: the items to score.
            history: of each row.

        Returns:
            ``[batch, items]``.
        """
        scores = self.score_candidates(u, candidates, history.kept)
        if self.history_bias is None:
            return scores
        return self.history_bias(scores, history, candidates.items, self.options["temperature"])

    def all_candidates(self) -> ItemTable:
        """All items, kept for the rest of an evaluation pass; memory is theirs and a chunk's."""
        if self._candidates is None:
            first, *others = chunks(0, self.n_items)
            part = F.normalize(self.item_tokens(first), dim=-1)
            tokens = part.new_empty(len(part), self.n_items, part.shape[2])
            tokens[:, first] = part
            for items in others:
                tokens[:, items] = F.normalize(self.item_tokens(items), dim=-1)
            weight = None if self.item_embedding is None else self.item_embedding.weight
            ids = None if weight is None else F.normalize(weight, dim=-1)
            self._candidates = ItemTable(tokens, self.counted(self.present), ids, slice(None))
        return self._candidates
