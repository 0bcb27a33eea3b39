"""The item side of MISSRec: what items give to histories, and how they are scored."""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recbole_missrec.data.augmentation import RATE
from recbole_missrec.model.fusion import CandidateFusion
from recbole_missrec.model.history import History, HistoryBias
from recbole_missrec.model.objectives import chunks


class ItemTable(NamedTuple):
    """Some items, each adapted once.

    Attributes:
        tokens: zero where a modality is absent, ``[modalities, items, dim]``.
        ids: id embeddings, ``[items, dim]``, None without item ids.
        items: which items these are, a slice or long ``[items]``.
    """

    tokens: Tensor
    ids: Tensor | None
    items: Any

    def part(self, items: slice) -> "ItemTable":
        """Some of the items, of a table of all."""
        return ItemTable(
            self.tokens[:, items], None if self.ids is None else self.ids[items], items
        )


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
        added: which items have come after the training, bool ``[items]``; None if none has.
        fusion: of a candidate's modalities.
        history_bias: of candidates that the history holds, None without.
    """

    options: Any
    modalities: list[str]
    augmented: tuple[str, ...]
    n_items: int
    present: Tensor
    adapters: nn.ModuleDict
    item_embedding: nn.Embedding | None
    added: Tensor | None = None
    fusion: CandidateFusion
    history_bias: HistoryBias | None
    _candidates: "ItemTable | None"  # all items, kept for an evaluation pass

    # --- histories --------------------------------------------------------------------------

    def item_tokens(self, items: Any = slice(None), altered: Tensor | None = None) -> Tensor:
        """Tokens ``A_m(f_i^m)`` of some items, zero where absent, ``[modalities, items, dim]``.

        Args:
            items: a slice or long ``[items]``; all by default.
            altered: which get augmented features, bool ``[items]``; none by default.
        """
        return torch.stack(
            [
                self.adapters[m](self._features(m, items, altered)) * present[items, None]
                for m, present in zip(self.modalities, self.present, strict=True)
            ]
        )

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
    ) -> ItemTable:
        """Adapt some items.

        Args:
            items: a slice or long ``[items]``; all by default.
            ids: their id embeddings, where these are at hand, ``[items, dim]``.
            altered: which get augmented features, bool ``[items]``; none by default.
        """
        if ids is None and self.item_embedding is not None:
            ids = self.item_embedding.weight[items]
        return ItemTable(self.item_tokens(items, altered), ids, items)

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
        slots = present.T.clone()  # [items, M]
        slots[:, 0] |= ~slots.any(1)
        return slots

    # --- candidates -------------------------------------------------------------------------

    def candidates(self, table: ItemTable) -> ItemTable:
        """A table with vectors of length 1."""
        ids = None if table.ids is None else F.normalize(table.ids, dim=-1)
        return ItemTable(F.normalize(table.tokens, dim=-1), ids, table.items)

    def score_candidates(self, u: Tensor, candidates: ItemTable) -> Tensor:
        """Scores over the temperature.

        Args:
            u: normalised sequence embeddings, ``[batch, dim]``.
            candidates: the items to score.

        Returns:
            ``[batch, items]``.
        """
        cosines = u @ candidates.tokens.transpose(1, 2)  # [M, batch, items]
        of_ids = None if candidates.ids is None else u @ candidates.ids.T  # [batch, items]
        return self.fuse(cosines, of_ids, candidates.items)

    def fuse(self, cosines: Tensor, of_ids: Tensor | None, items: Any) -> Tensor:
        """Scores over the temperature out of the cosines of sequence embeddings and items.

        Args:
            cosines: with the tokens, ``[M, batch, items]``, 0 where absent.
            of_ids: with the id embeddings, ``[batch, items]``, None without item ids.
            items: which items these are, a slice or long ``[items]``.

        Returns:
            ``[batch, items]``.
        """
        present = self.present[:, items]  # [M, items]
        content = self.fusion(cosines, present, items)  # [batch, items]
        if of_ids is None:  # an item without any modality ranks last
            scores = torch.where(present.any(0), content, -1.0)
        else:
            weight = self.options["id_weight"]
            scores = (of_ids + weight * content) / (1 + weight)
            if self.added is not None:  # never trained: what has no id is scored without
                scores = torch.where(self.added[items], content, scores)
        return scores / self.options["temperature"]

    def scores(self, u: Tensor, candidates: ItemTable, history: History) -> Tensor:
        """Scores over the temperature, those of items of the history shifted.

        Args:
            u: normalised sequence embeddings, ``[batch, dim]``.
            candidates: the items to score.
            history: of each row.

        Returns:
            ``[batch, items]``.
        """
        scores = self.score_candidates(u, candidates)
        if self.history_bias is None:
            return scores
        return scores + self.history_bias(history, candidates.items) / self.options["temperature"]

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
            self._candidates = ItemTable(tokens, ids, slice(None))
        return self._candidates
