"""Why an item has its score, and what the model looked at in a history."""

from functools import cached_property
from typing import Any

import numpy as np
import torch

from recbole_missrec.errors import UsageError
from recbole_missrec.map.attention import attention
from recbole_missrec.map.typical import typical_items
from recbole_missrec.model.history import History
from recbole_missrec.model.missrec import MISSRec
from recbole_missrec.serving.histories import Histories, held_items
from recbole_missrec.serving.recommender import Recommender
from recbole_missrec.serving.scoring import FusedScorer

TYPICAL = 3  # items of an interest


class Explainer:
    """Explains the scores of MISSRec.

    Args:
        recommender: of it.

    Raises:
        UsageError: it is of another model.
    """

    def __init__(self, recommender: Recommender) -> None:
        scorer = recommender.scorer
        if not isinstance(scorer, FusedScorer):
            raise UsageError(
                f"explain: {type(scorer.model).__name__} has one vector an item; there is nothing "
                "to tell apart. MISSRec has modalities and interests"
            )
        self.recommender, self.scorer = recommender, scorer
        self.model: MISSRec = scorer.model
        self.tokens = recommender.catalogue.tokens

    @torch.no_grad()
    def parts(self, histories: Histories, items: torch.Tensor) -> list[dict[str, Any]]:
        """What the score of each item is made of.

        Args:
            histories: one row, not empty.
            items: rows of the catalogue, long ``[items]``.

        Returns:
            For each item its ``score`` and its ``parts``: ``part`` (a modality, ``id``, or, of what
            is added, ``history`` for items of it, ``lacking`` for modalities that an item lacks,
            ``unseen`` for items that the training never read and ``nothing known`` for items
            without any of these), ``weight``, ``cosine`` and
            ``contribution``, whose sum is the score.
        """
        scorer = self.scorer
        u = scorer.embed(histories)
        cosines = torch.stack([u @ part[items].T for part in scorer.parts])  # [parts, 1, items]
        weights = scorer.weights(cosines, items, u)
        scores = scorer.fuse(cosines, items, u)[0]  # [items]
        held = held_items(History(histories.items, histories.lengths))
        added = torch.zeros_like(scores)
        if self.model.history_bias is not None:
            own = held.item == items[:, None]  # [items, held]
            added = own.to(scores) @ scorer.bias(held.last)
        known = weights[:, 0].any(0)  # [items]
        raised = self.model.unseen[items] & known
        extra = {
            "history": added,
            "lacking": scorer.shift(items) * known / scorer.temperature,
            "unseen": raised * self.model.options["unseen_bias"] / scorer.temperature,
            "nothing known": (~known).to(scores) * self.model.lowest_cosine() / scorer.temperature,
        }
        columns = (weights[:, 0], cosines[:, 0], weights[:, 0] * cosines[:, 0] / scorer.temperature)
        numbers = torch.stack(columns, -1).double().transpose(0, 1).tolist()  # [items][parts][3]
        bonuses = torch.stack([*extra.values()], 1).tolist()  # [items][extras]
        explained = []
        for row, score, own in zip(numbers, (scores + added).tolist(), bonuses, strict=True):
            parts: list[dict[str, Any]] = [
                {"part": name, "weight": weight, "cosine": cosine, "contribution": contribution}
                for name, (weight, cosine, contribution) in zip(scorer.names, row, strict=True)
            ]
            parts += [
                {"part": name, "contribution": bonus}
                for name, bonus in zip(extra, own, strict=True)
                if bonus
            ]
            explained.append({"score": score, "parts": parts})
        return explained

    def reading(self, histories: Histories) -> dict[str, Any]:
        """Where the model looked when it read a history.

        Args:
            histories: one row, not empty.

        Returns:
            ``history``: its items in order with their share of attention; ``interests``: those that
            it touches, most attention first, with their typical items and the items of the history
            that touch them. Both empty for a model without interests.
        """
        if self.model.reading == "no_interests":
            return {"history": [], "interests": []}
        found = attention(self.model, histories.interaction(self.model))
        items = histories.items[0, : int(histories.lengths)]
        shares = found.shares.mean(0)  # [interests]
        touched = self.model.interest_ids.cpu()[items]  # [length, modalities]
        interests: list[dict[str, Any]] = [
            {
                "interest": int(interest),
                "attention": float(share),
                "typical": self._named(self.typical[interest]),
                "touched_by": self._named(items[(touched == interest).any(1)].unique().numpy()),
            }
            for interest, share in zip(found.interests, shares, strict=True)
            if interest >= 0
        ]
        interests.sort(key=lambda told: -told["attention"])
        attended = zip(self._named(items.numpy()), found.items.mean(0).tolist(), strict=True)
        history = [{"item": token, "attention": share} for token, share in attended]
        return {"history": history, "interests": interests}

    def _named(self, items: np.ndarray) -> list[str]:
        return self.tokens[items[items > 0]].tolist()

    @cached_property
    def typical(self) -> np.ndarray:
        """Items nearest to each centroid, int64 ``[interests, at most TYPICAL]``, 0 for none."""
        none = len(self.model.centroids) - 1
        with torch.no_grad():
            vectors = self.model.item_tokens()[:, 1:].float().cpu().numpy()
        ids = self.model.interest_ids[1:].T.cpu().numpy()  # [modalities, items]
        centroids = self.model.centroids[:none].cpu().numpy()
        return typical_items(vectors, np.where(ids == none, -1, ids), centroids, TYPICAL) + 1
