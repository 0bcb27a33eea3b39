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
    """

    present: Tensor

    def __init__(
        self, dataset: Any, modalities: list[str], adapter: Callable[[int], nn.Module]
    ) -> None:
        super().__init__()
        self.adapters = nn.ModuleDict()
        for m in modalities:
            self.adapters[m] = adapter(dataset.features[m].shape[1])
            self.register_buffer(f"features_{m}", dataset.features[m], persistent=False)
        present = torch.stack([dataset.present[m] for m in modalities])  # [modalities, items]
        self.register_buffer("present", present, persistent=False)

    def forward(self, items: Any = slice(None)) -> Tensor:
        """Adapt some items.

        Args:
            items: a slice or long ``[items]``; all by default.

        Returns:
            Zero where a modality is absent, ``[modalities, items, dim]``.
        """
        return torch.stack(
            [
                adapter(getattr(self, f"features_{m}")[items]) * present[items, None]
                for (m, adapter), present in zip(self.adapters.items(), self.present, strict=True)
            ]
        )
