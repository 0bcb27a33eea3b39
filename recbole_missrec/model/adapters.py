"""Frozen item features, each modality through an adapter of its own into one space."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class AdaptedFeatures(nn.Module):
    """One adapter a modality over the features of all items.

    The features move with the model but stay out of its checkpoints.

    Args:
        dataset: a ``MultiModalSequentialDataset``.
        modalities: names of those to read.
        adapter: makes a module ``[items, d_m] -> [items, dim]`` from d_m.
        left_out: how likely an item lacks each modality in a training step, ``[modalities]``.
    """

    present: Tensor
    left_out: Tensor

    def __init__(
        self,
        dataset: Any,
        modalities: list[str],
        adapter: Callable[[int], nn.Module],
        left_out: Tensor,
    ) -> None:
        super().__init__()
        self.adapters = nn.ModuleDict()
        for m in modalities:
            self.adapters[m] = adapter(dataset.features[m].shape[1])
            self.register_buffer(f"features_{m}", dataset.features[m], persistent=False)
        present = torch.stack([dataset.present[m] for m in modalities])  # [modalities, items]
        self.register_buffer("present", present, persistent=False)
        self.register_buffer("left_out", left_out[:, None], persistent=False)
        self.drops = bool(left_out.any())

    def forward(self, items: Any = slice(None)) -> tuple[Tensor, Tensor]:
        """Adapt some items.

        Args:
            items: a slice or long ``[items]``; all by default.

        Returns:
            Vectors, zero where a modality is absent, ``[modalities, items, dim]``, and which are
            there, bool ``[modalities, items]``.
        """
        there = self.present[:, items]
        if self.training and self.drops:
            kept = torch.rand_like(there, dtype=torch.float) >= self.left_out
            there = there & (kept | ~(kept & there).any(0))  # never nothing
        vectors = [
            adapter(getattr(self, f"features_{m}")[items]) * present[:, None]
            for (m, adapter), present in zip(self.adapters.items(), there, strict=True)
        ]
        return torch.stack(vectors), there
