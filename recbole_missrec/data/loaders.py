"""Batches of several data sets that do not mix them."""

from collections.abc import Iterator
from typing import Any

import torch
from recbole.data.dataloader import TrainDataLoader

from recbole_missrec.data.domains import domains, token_domains
from recbole_missrec.errors import UsageError


class OneDomainLoader(TrainDataLoader):
    """Batches of one data set each, in random order, of each as many as its rows fill.

    Every row is in one batch of an epoch. The last batch of a data set may be smaller than the
    others. Memory: 8 bytes a row, and as much for an epoch, beside RecBole's list of the rows.

    Args:
        config: of RecBole.
        dataset: the training rows, of several data sets.
        sampler: of negatives; those of a batch are its own.
        shuffle: draw rows and batches anew each epoch; else they come in their order.

    Raises:
        UsageError: there is one data set alone.
    """

    def __init__(self, config: Any, dataset: Any, sampler: Any, shuffle: bool = False) -> None:
        if len(domains(config)) == 1:
            raise UsageError(
                f"--mix_domains=False: {config['dataset']} is one data set; give several, "
                "like --dataset=A,B"
            )
        super().__init__(config, dataset, sampler, shuffle=shuffle)
        users = dataset.inter_feat[dataset.uid_field]  # [rows]
        domain = token_domains(dataset, dataset.uid_field)[users]  # [rows]
        self._rows = [(domain == number).nonzero().squeeze(1) for number in domain.unique()]

    def __len__(self) -> int:
        return sum(-(-len(rows) // self.step) for rows in self._rows)

    def __iter__(self) -> Iterator[Any]:
        batches = [
            batch
            for rows in self._rows
            for batch in rows[self._order(len(rows))].split(self.step)  # [at most step]
        ]
        for number in self._order(len(batches)):
            yield self.collate_fn(batches[number])

    def _order(self, count: int) -> torch.Tensor:
        """Of so many, long ``[count]``."""
        return (
            torch.randperm(count, generator=self.generator) if self.shuffle else torch.arange(count)
        )
