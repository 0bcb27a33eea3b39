"""Features of the items of a data set, read from their files row by row when they are asked for."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

BLOCK = 2**16  # items that are read at a time


class Source(NamedTuple):
    """A matrix that items have rows in, and what its features are shifted and scaled by.

    Attributes:
        matrix: float16 or float32 ``[rows, dim]``, mapped from a file.
        mean: ``[dim]``, or a scalar.
        scale: of the same shape.
    """

    matrix: Tensor
    mean: Tensor
    scale: Tensor


class FeatureStore:
    """Stands for a float32 matrix ``[items, dim]``, of which rows are taken by ``store[items]``.

    Rows come standardised, zero where an item has none. Memory is that of what is taken and ten
    bytes an item: the files stay where they are.

    Args:
        items: number of items, padding included.
        dim: of a feature.
    """

    def __init__(self, items: int, dim: int) -> None:
        self.shape = torch.Size((items, dim))
        self.sources: list[Source] = []
        self.source = torch.full((items,), -1, dtype=torch.int16)  # of each item, -1: it has none
        self.row = torch.zeros(items, dtype=torch.long)

    @property
    def present(self) -> Tensor:
        """Which items have features, bool ``[items]``."""
        return self.source >= 0

    def add(self, matrix: Tensor, row: Tensor, like: Source | None = None) -> Source:
        """Give features to items, in place of those that they have.

        Args:
            matrix: float16 or float32 ``[rows, dim]``.
            row: of each item, long ``[items]``; -1 leaves an item as it is.
            like: whose mean and scale are used; without, features stay as they are.

        Returns:
            The new source.
        """
        mean, scale = (like.mean, like.scale) if like else (torch.zeros(()), torch.ones(()))
        given = row >= 0
        self.source[given], self.row[given] = len(self.sources), row[given]
        self.sources.append(Source(matrix, mean, scale))
        return self.sources[-1]

    def standardise(self) -> None:
        """Give the features of the last source mean 0 and variance 1; they are read once."""
        last = len(self.sources) - 1
        source = self.sources[last]
        rows = self.row[self.source == last]  # in the order of the items
        blocks = (source.matrix[part].float() for part in rows.split(BLOCK))
        self.sources[last] = Source(source.matrix, *moments(blocks))

    def append(self, features: Tensor, present: Tensor) -> None:
        """Add items after the others.

        Args:
            features: as they are to be taken, float32 ``[added, dim]``.
            present: which of the items have any, bool ``[added]``.
        """
        source = torch.where(present, len(self.sources), -1).to(self.source.dtype)
        self.source = torch.cat([self.source, source])
        self.row = torch.cat([self.row, torch.arange(len(features))])
        self.sources.append(Source(features, torch.zeros(()), torch.ones(())))
        self.shape = torch.Size((len(self.row), self.shape[1]))

    def __getitem__(self, items: Any) -> Tensor:
        """Features of some items, float32 ``[items, dim]`` on the processor.

        Args:
            items: a slice, or long ``[items]`` on any device.
        """
        if isinstance(items, Tensor):
            items = items.cpu()
        source, row = self.source[items], self.row[items]
        taken = torch.zeros(len(row), self.shape[1])
        for number, (matrix, mean, scale) in enumerate(self.sources):
            here = (source == number).nonzero().squeeze(1)
            taken[here] = (matrix[row[here]].float() - mean) / scale
        return taken

    def in_memory(self) -> Tensor:
        """The whole matrix."""
        whole = torch.empty(self.shape)
        for items in self._blocks():
            whole[items] = self[items]
        return whole

    def _blocks(self) -> Iterator[slice]:
        return (slice(start, start + BLOCK) for start in range(0, self.shape[0], BLOCK))


def moments(blocks: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and scale that give each feature dimension mean 0 and variance 1.

    The adapters can express the same functions either way; they learn them faster, because
    features of one encoder share a large mean. Moments of blocks are put together by the formulas
    of Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm for computing sample
    variances, 1982.

    Args:
        blocks: features of the items that have the modality, ``[rows, dim]`` each, one row or more
            together.

    Returns:
        Both ``[dim]``; the scale of a constant dimension is small, but not 0.
    """
    count, mean, squares = 0, torch.zeros(()).double(), torch.zeros(()).double()
    for rows in blocks:
        more, total = len(rows), count + len(rows)
        difference = rows.mean(0).double() - mean  # [dim]
        deviation = rows.std(0, unbiased=more > 1).double()  # [dim]
        mean = mean + difference * (more / total)
        squares = squares + deviation**2 * max(more - 1, 1)
        squares = squares + difference**2 * (count * more / total)
        count = total
    scale = (squares / max(count - 1, 1)).sqrt()
    return mean.float(), scale.float().clamp_min(1e-6)
