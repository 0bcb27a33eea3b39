"""Dynamic candidate fusion: how much each modality of a candidate counts in its score."""

from typing import Any

import torch
from torch import Tensor, nn


class CandidateFusion(nn.Module):
    """Weigh the cosines of a candidate's present modalities (MISSRec, section 3.4).

    ``w = softmax over present m of (alpha * s_m)``, ``score = sum over m of w_m s_m``. ``alpha``
    starts at 0, a plain mean.

    Args:
        kind: ``static`` (the mean), ``dynamic_shared`` (one alpha), ``dynamic_instance`` (one an
            item).
        num_items: N, padding included.
    """

    def __init__(self, kind: str, num_items: int) -> None:
        super().__init__()
        shape = {"static": None, "dynamic_shared": (), "dynamic_instance": (num_items,)}[kind]
        self.alpha = None if shape is None else nn.Parameter(torch.zeros(shape))

    def forward(self, cosines: Tensor, present: Tensor, items: Any = slice(None)) -> Tensor:
        """Fuse.

        Args:
            cosines: s_m, ``[modalities, batch, items]``, 0 where absent.
            present: bool ``[modalities, 1, items]``, or with ``batch`` in place of 1.
            items: which items these are, a slice or long ``[items]``; all by default.

        Returns:
            ``[batch, items]``, 0 for items without any modality.
        """
        if self.alpha is None:
            return cosines.sum(0) / present.sum(0).clamp(min=1)
        if len(cosines) == 1:
            return cosines[0]
        return (self.weights(cosines, present, items) * cosines).sum(0)

    def weights(self, cosines: Tensor, present: Tensor, items: Any = slice(None)) -> Tensor:
        """How much each modality counts; arguments as ``forward``.

        Returns:
            ``[modalities, batch, items]``; of no meaning for items without any modality.
        """
        alpha: Any = 0 if self.alpha is None else self.alpha
        if self.alpha is not None and self.alpha.dim():
            alpha = self.alpha[items]
        lowest = torch.finfo(cosines.dtype).min  # not -inf: an item may have no modality
        return torch.where(present, alpha * cosines, lowest).softmax(0)
