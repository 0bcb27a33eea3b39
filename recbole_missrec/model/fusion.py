"""Dynamic candidate fusion: how much each modality of a candidate counts in its score."""

from typing import Any

import torch
from torch import Tensor, nn

PRIOR = 10  # training interactions at which an item's own alpha counts half: dynamic_shrunk


class CandidateFusion(nn.Module):
    """Weigh the cosines of a candidate's present modalities (MISSRec, section 3.4).

    ``w = softmax over present m of (alpha * s_m)``, ``score = sum over m of w_m s_m``. ``alpha``
    starts at 0, a plain mean. Not in the paper: an item's alpha that is shrunk towards the shared
    one the more, the rarer the item (``alpha + n_i / (n_i + PRIOR) * own_i``), and a gate on the
    user's sequence (``w = softmax over present m of (g_m . u + b_m)``).

    A mean over one cosine varies more than a mean over several. So that scores of items with and
    without a modality may come onto one scale, a learned number is added for each modality that an
    item lacks, if asked for; not in the paper. What teaches it are items that lack it, of the
    catalogue or by ``modality_dropout`` of items.

    Args:
        kind: ``static`` (the mean), ``dynamic_shared`` (one alpha), ``dynamic_instance`` (one an
            item), ``dynamic_shrunk`` or ``gate``.
        counts: training interactions of each item, padding included, long ``[items]``.
        modalities: how many.
        dim: of a sequence embedding.
        calibrate: learn what is added for a modality that an item lacks.
    """

    alpha: nn.Parameter | None
    own: nn.Parameter | None
    gate: nn.Parameter | None
    lacking: nn.Parameter | None
    trust: Tensor

    def __init__(
        self, kind: str, counts: Tensor, modalities: int, dim: int, calibrate: bool = False
    ) -> None:
        super().__init__()
        self.kind, self.alpha, self.own, self.gate = kind, None, None, None
        self.lacking = nn.Parameter(torch.zeros(modalities)) if calibrate else None
        if kind in ("dynamic_shared", "dynamic_shrunk"):
            self.alpha = nn.Parameter(torch.zeros(()))
        elif kind == "dynamic_instance":
            self.alpha = nn.Parameter(torch.zeros(len(counts)))
        elif kind == "gate":
            self.gate = nn.Parameter(torch.zeros(modalities, dim))
            self.gate_bias = nn.Parameter(torch.zeros(modalities))
        if kind == "dynamic_shrunk":
            self.own = nn.Parameter(torch.zeros(len(counts)))
            self.register_buffer("trust", counts / (counts + PRIOR))

    def forward(
        self, cosines: Tensor, present: Tensor, items: Any, u: Tensor, lacks: Tensor | None = None
    ) -> Tensor:
        """Fuse.

        Args:
            cosines: s_m, ``[modalities, batch, items]``, 0 where absent.
            present: bool ``[modalities, 1, items]``, or with ``batch`` in place of 1.
            items: which items these are, a slice, long ``[items]``, or ``[batch, items]`` where
                each row has its own.
            u: normalised sequence embeddings, ``[batch, dim]``.
            lacks: which modalities items lack, in the shape of ``present``; those that are not
                present by default. Where a row itself does without one, no item lacks it.

        Returns:
            ``[batch, items]``, 0 for items without any modality; plus what is added for those that
            they lack.
        """
        if self.kind == "static":
            fused = cosines.sum(0) / present.sum(0).clamp(min=1)
        elif len(cosines) == 1:
            fused = cosines[0]
        else:
            fused = (self.weights(cosines, present, items, u) * cosines).sum(0)
        if self.lacking is None:
            return fused
        return fused + self.shift(~present if lacks is None else lacks)

    def shift(self, lacks: Tensor) -> Tensor:
        """What is added for the modalities that items lack, of a fusion that learns it.

        Args:
            lacks: bool ``[modalities, ...]``.

        Returns:
            ``[...]``.
        """
        assert self.lacking is not None
        return torch.tensordot(self.lacking, lacks.to(self.lacking), dims=1)

    def most_taken(self) -> float | Tensor:
        """The most that is taken from the score of an item for what it lacks, 0 or less."""
        return 0.0 if self.lacking is None else self.lacking.detach().clamp(max=0).sum()

    def weights(self, cosines: Tensor, present: Tensor, items: Any, u: Tensor) -> Tensor:
        """How much each modality counts; arguments as ``forward``.

        Returns:
            ``[modalities, batch, items]``; of no meaning for items without any modality.
        """
        if self.gate is not None:
            logits = (self.gate @ u.T + self.gate_bias[:, None])[:, :, None]  # [M, batch, 1]
        else:
            logits = self.alphas(items) * cosines
        lowest = torch.finfo(cosines.dtype).min  # not -inf: an item may have no modality
        return torch.where(present, logits, lowest).softmax(0)

    def alphas(self, items: Any) -> Tensor | float:
        """Alpha of some items: a number for all, or one an item, in the shape of ``items``."""
        if self.alpha is None:
            return 0.0
        if self.own is not None:
            return self.alpha + self.trust[items] * self.own[items]
        return self.alpha[items] if self.alpha.dim() else self.alpha

    def add_items(self, number: int) -> None:
        """Be a fusion of more items: each takes the shared alpha, or the mean of all."""
        if self.own is not None:
            zeros = self.own.new_zeros(number)
            self.own = nn.Parameter(torch.cat([self.own, zeros]))
            self.trust = torch.cat([self.trust, zeros])
        elif self.alpha is not None and self.alpha.dim():
            mean = self.alpha[1:].mean().expand(number)
            self.alpha = nn.Parameter(torch.cat([self.alpha, mean]))
