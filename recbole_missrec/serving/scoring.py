"""How items are scored: dot products with an item's parts, and what is made of them.

An item has a vector for each modality and one for its id (MISSRec), or one in all (the causal
models). All vectors are kept for as long as the scorer: ``parts * items * dim`` float32.
"""

from typing import Any

import torch
from torch import Tensor

from recbole_missrec.errors import UsageError
from recbole_missrec.model.causal import CausalRecommender
from recbole_missrec.model.missrec import MISSRec
from recbole_missrec.serving.histories import Histories


class Scorer:
    """Scores of a model in evaluation mode, equal to those of its ``full_sort_predict``.

    Attributes:
        model: of this project.
        names: of the parts of an item.
        parts: their vectors, one ``[items, dim]`` for each, zero where an item lacks it.
    """

    model: Any
    names: list[str]
    parts: list[Tensor]

    def fuse(self, dots: Tensor, items: Any, u: Tensor) -> Tensor:
        """Scores out of dot products.

        Args:
            dots: of sequence embeddings with parts, ``[parts, batch, items]``.
            items: which items these are, a slice, long ``[items]``, or ``[batch, items]`` where
                each row has its own.
            u: the embeddings, ``[batch, dim]``.

        Returns:
            ``[batch, items]``.
        """
        raise NotImplementedError

    @torch.no_grad()
    def embed(self, histories: Histories) -> Tensor:
        """Sequence embeddings ``[rows, dim]``; every length must be at least 1."""
        return self.model.embed(histories.interaction(self.model))

    @torch.no_grad()
    def score(self, u: Tensor, items: Any) -> Tensor:
        """Scores of some items for all rows, without what histories add.

        Args:
            u: ``[rows, dim]``.
            items: a slice or long ``[items]``.

        Returns:
            ``[rows, items]``.
        """
        return self.fuse(torch.stack([u @ part[items].T for part in self.parts]), items, u)

    @torch.no_grad()
    def score_own(self, u: Tensor, items: Tensor) -> Tensor:
        """The same where each row has candidates of its own.

        Memory: the vectors of all of them, ``rows * candidates * dim``.

        Args:
            u: ``[rows, dim]``.
            items: long ``[rows, candidates]``.

        Returns:
            ``[rows, candidates]``.
        """
        dots = [(part[items] @ u[:, :, None]).squeeze(2) for part in self.parts]
        return self.fuse(torch.stack(dots), items, u)

    @torch.no_grad()
    def bias(self, last: Tensor) -> Tensor:
        """What is added to the scores of items of a history, of a model with such a bias.

        Args:
            last: whether each is the last of it, bool ``[...]``.
        """
        anywhere, at_the_end = self.model.history_bias.weight
        return (anywhere + at_the_end * last.to(self.model.device)) / self.temperature

    def views(self) -> dict[str, Tensor]:
        """Vectors ``[items, dim]`` whose inner products with a row find candidates, by name."""
        return dict(zip(self.names, self.parts, strict=True))

    @property
    def raised(self) -> Tensor | None:
        """Items whose scores the model raises, unseen or lacking a modality, bool ``[items]``; None
        for none."""
        return None

    @property
    def temperature(self) -> float:
        """That scores are over."""
        return self.model.temperature or 1.0


class FusedScorer(Scorer):
    """MISSRec: one part a modality, and the id embedding where there are item ids."""

    def __init__(self, model: MISSRec) -> None:
        self.model = model
        with torch.no_grad():
            table = model.all_candidates()
        self.names, self.parts, self.there = [*model.modalities], [*table.tokens], table.present
        if table.ids is not None:
            self.names.append("id")
            self.parts.append(table.ids)

    def fuse(self, dots: Tensor, items: Any, u: Tensor) -> Tensor:
        modalities = len(self.model.modalities)
        of_ids = dots[modalities] if len(dots) > modalities else None
        return self.model.fuse(dots[:modalities], of_ids, self.present(items), items, u)

    def present(self, items: Any) -> Tensor:
        """Which modalities items have, bool ``[modalities, 1 or batch, items]``."""
        there = self.there[:, items]
        return there if there.dim() == 3 else there[:, None]

    @torch.no_grad()
    def views(self) -> dict[str, Tensor]:
        """The mean of an item's parts, as alpha 0 weighs them, and where they are several, each
        modality."""
        modalities = len(self.model.modalities)
        alike = torch.zeros(len(self.parts), 1, len(self.parts[0]), device=self.model.device)
        nobody = torch.zeros_like(self.parts[0][:1])
        weights = self.weights(alike, slice(None), nobody)[:, 0]  # [parts, items]
        mean = torch.zeros_like(self.parts[0])
        for part, weight in zip(self.parts, weights, strict=True):
            mean.addcmul_(part, weight[:, None].to(part))
        each = zip(self.model.modalities, self.parts, strict=False)  # without the ids
        return {"mean": mean} | (dict(each) if modalities > 1 else {})

    @torch.no_grad()
    def weights(self, dots: Tensor, items: Any, u: Tensor) -> Tensor:
        """How much each part counts: the score is the sum of weights and cosines over temperature.

        Args:
            dots: cosines, ``[parts, batch, items]``.
            items: which items these are, a slice or long ``[items]``.
            u: sequence embeddings, ``[batch, dim]``.

        Returns:
            ``[parts, batch, items]``; all 0 for an item without any part.
        """
        modalities = len(self.model.modalities)
        present = self.present(items)
        weights = self.model.fusion.weights(dots[:modalities], present, items, u) * present
        if len(dots) == modalities:
            return weights
        of_ids = torch.full_like(dots[0], 1 / (1 + self.model.options["id_weight"]))
        of_ids = of_ids * ~self.model.without_id[items]
        return torch.cat([weights * (1 - of_ids), of_ids[None]])

    @torch.no_grad()
    def shift(self, items: Tensor) -> Tensor:
        """What is added to the cosines of items for what they lack, ``[items]``.

        Args:
            items: long ``[items]``.
        """
        if self.model.fusion.lacking is None:
            return torch.zeros(len(items), device=self.model.device)
        shift = self.model.fusion.shift(~self.there[:, items])
        if self.model.item_embedding is None:
            return shift
        weight = self.model.options["id_weight"]
        return torch.where(self.model.without_id[items], shift, shift * weight / (1 + weight))

    @property
    def raised(self) -> Tensor | None:
        biased = self.model.unseen & bool(self.model.options["unseen_bias"])
        raised = biased | (self.shift(torch.arange(len(biased), device=biased.device)) > 0)
        return raised.cpu() if raised.any() else None

    @property
    def temperature(self) -> float:
        return self.model.options["temperature"]


class PlainScorer(Scorer):
    """The causal models: one vector an item."""

    def __init__(self, model: CausalRecommender) -> None:
        self.model, self.names = model, ["vector"]
        with torch.no_grad():
            self.parts = [model.item_table()[1]]

    def fuse(self, dots: Tensor, items: Any, u: Tensor) -> Tensor:
        return self.model.masked(dots[0], items)


def make_scorer(model: Any, checkpoint: str) -> Scorer:
    """Scorer of a model, which is in evaluation mode.

    Raises:
        UsageError: the model has no sequence embedding to score items by.
    """
    if isinstance(model, MISSRec):
        return FusedScorer(model)
    if isinstance(model, CausalRecommender):
        return PlainScorer(model)
    raise UsageError(
        f"{checkpoint}: of {type(model).__name__}, which has no sequence embeddings; "
        "MISSRec, UniSRec, VQRec and SASRecContent have"
    )
