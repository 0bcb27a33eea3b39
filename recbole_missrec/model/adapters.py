"""Frozen item features through adapters: one a modality, or one for all beside each other."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class FrozenFeatures(nn.Module):
    """The features of all items, and adapters that a subclass applies to them.

    The features move with the model but stay out of its checkpoints.

    Args:
        dataset: a ``MultiModalSequentialDataset``.
        modalities: names of those to read.
        adapter: makes a module ``[items, d] -> [items, dim]`` from d.
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
        self.modalities = modalities
        inputs = self.inputs({m: dataset.features[m].shape[1] for m in modalities})
        self.adapters = nn.ModuleDict({name: adapter(size) for name, size in inputs.items()})
        for m in modalities:
            self.register_buffer(f"features_{m}", dataset.features[m], persistent=False)
        present = torch.stack([dataset.present[m] for m in modalities])  # [modalities, items]
        self.register_buffer("present", present, persistent=False)
        self.register_buffer("left_out", left_out[:, None], persistent=False)
        self.drops = bool(left_out.any())

    @staticmethod
    def inputs(sizes: dict[str, int]) -> dict[str, int]:
        """Name and input dimensions d of each adapter.

        Args:
            sizes: modality -> d_m.
        """
        raise NotImplementedError

    def rows(self, items: Any) -> tuple[list[Tensor], Tensor]:
        """Features of some items, ``[items, d_m]`` each, and which modalities they have.

        Args:
            items: a slice or long ``[items]``.

        Returns:
            The features, and which are there, bool ``[modalities, items]``.
        """
        there = self.present[:, items]
        if self.training and self.drops:
            kept = torch.rand_like(there, dtype=torch.float) >= self.left_out
            there = there & (kept | ~(kept & there).any(0))  # never nothing
        return [getattr(self, f"features_{m}")[items] for m in self.modalities], there


class AdaptedFeatures(FrozenFeatures):
    """One adapter a modality."""

    @staticmethod
    def inputs(sizes: dict[str, int]) -> dict[str, int]:
        return sizes

    def forward(self, items: Any = slice(None)) -> Tensor:
        """Sum over the present modalities, ``[items, dim]``; all items by default."""
        features, there = self.rows(items)
        parts = zip(self.adapters.values(), features, there, strict=True)
        vectors = [adapter(rows) * present[:, None] for adapter, rows, present in parts]
        return torch.stack(vectors).sum(0)


class JoinedFeatures(FrozenFeatures):
    """One adapter for the features of all modalities beside each other."""

    @staticmethod
    def inputs(sizes: dict[str, int]) -> dict[str, int]:
        return {"_".join(sizes): sum(sizes.values())}

    def forward(self, items: Any = slice(None)) -> Tensor:
        """Adapted features, zeros where one is absent, ``[items, dim]``; all items by default.

        Zero for items without any.
        """
        features, there = self.rows(items)
        parts = [rows * present[:, None] for rows, present in zip(features, there, strict=True)]
        (adapter,) = self.adapters.values()
        return adapter(torch.cat(parts, 1)) * there.any(0)[:, None]
