"""The interests of MISSRec: clusters of the item tokens, and their means."""

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from recbole_missrec.interests.discovery import discover
from recbole_missrec.interests.health import Interests
from recbole_missrec.model.items import ItemSide


class InterestSide(ItemSide):
    """Methods of a model that has the parts named here, beside those of items; it makes them.

    Attributes:
        interest_ids: of the token of each item and modality, their number for none; long
            ``[items, modalities]``.
        centroids: mean tokens, the last zero, ``[interests + 1, dim]``.
        health: of the last discovery, see ``Health``; empty before.
    """

    interest_ids: Tensor
    centroids: Tensor
    health: dict[str, Any]

    @torch.no_grad()
    def discover_interests(self, epoch: int) -> bool:
        """Cluster the tokens of all items, before a training epoch, unless they have hardly moved.

        Args:
            epoch: index of the epoch, part of the seed; before the first there are no interests.

        Returns:
            Whether there are others now.
        """
        if self.options["structure"] == "no_interests":
            return False
        none = len(self.centroids) - 1
        last = (
            Interests(self.interest_ids, self.centroids[:none]) if epoch and self.health else None
        )
        seed, present = self.options["seed"] + epoch, self.present.T
        frozen = self.options["interest_space"] == "features"
        features = [getattr(self, f"features_{m}") for m in self.modalities] if frozen else []
        found = discover(self.present_tokens(), present, self.options, seed, last, features)
        if found is not None:
            ids = found[0].ids
            self.interest_ids.copy_(ids.masked_fill(ids < 0, none))
            self.centroids[:none] = found[0].centroids
            self.health, self._candidates = asdict(found[1]), None
        return found is not None

    def interest_means(self) -> Tensor:
        """Mean token of each interest, as it was at the discovery or, with gradients, is now.

        Returns:
            ``[interests + 1, dim]``, the last zero. With gradients each call takes the time of
            adapting all items; an evaluation reads those of its beginning.
        """
        if not (self.training and self.options["interest_gradient"]):
            return self.centroids
        tokens = self.item_tokens().flatten(0, 1)  # [modalities * items, dim]
        ids = self.interest_ids.T.flatten()  # [modalities * items]
        tokens = tokens * (ids < len(self.centroids) - 1)[:, None]  # without learned ones
        sums = torch.zeros_like(self.centroids).index_add(0, ids, tokens)
        ones = torch.ones_like(tokens[:, 0])
        sizes = ones.new_zeros(len(sums)).index_add(0, ids, ones)  # [interests + 1]
        return sums / sizes.clamp(min=1)[:, None]
