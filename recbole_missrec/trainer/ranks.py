"""Ranks of the targets of an evaluation, for any RecBole model and loader."""

from typing import Any, NamedTuple

import recbole.trainer.trainer as recbole_trainer
import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from torch import Tensor

from recbole_missrec.errors import Diverged
from recbole_missrec.evaluation.ranking import count_ranks


class Ranks(NamedTuple):
    """Where the target of each evaluated row was ranked; internal ids, all long ``[rows]``."""

    users: Tensor
    targets: Tensor
    better: Tensor
    equal: Tensor


def rank_targets(trainer: Any, eval_data: Any, show_progress: bool) -> Ranks | None:
    """Rank each row's target, batch by batch; memory is that of a batch's scores.

    Args:
        trainer: a RecBole trainer, whose model is in evaluation mode.
        eval_data: an evaluation data loader of RecBole.
        show_progress: show a bar.

    Returns:
        The ranks, or None if rows have several targets or no ranks are asked for.

    Raises:
        Diverged: a score is not a number.
    """
    full = isinstance(eval_data, FullSortEvalDataLoader)
    if full:
        score_batch = trainer._full_sort_batch_eval
        trainer.item_tensor = eval_data._dataset.get_item_feature().to(trainer.device)
        if hasattr(trainer.model, "packer"):
            eval_data.transform = trainer.model.packer()
    else:
        score_batch = trainer._neg_sample_batch_eval
    trainer.tot_item_num = eval_data._dataset.item_num
    user_field = trainer.config["USER_ID_FIELD"]
    batches = []
    for batch in recbole_trainer.tqdm(
        eval_data, desc="evaluate", disable=None if show_progress else True
    ):
        interaction, scores, rows, targets = score_batch(batch)
        if rows is None or not torch.equal(rows, torch.arange(len(scores))):
            return None
        try:
            better, equal = count_ranks(scores, targets.to(scores.device))
        except ValueError as error:
            raise Diverged(str(error)) from error
        users = interaction[user_field].cpu()
        if not full:  # a user's positive and sampled items stand together
            users = users[torch.searchsorted(batch[1], rows)]
        batches.append((users, targets.cpu(), better.cpu(), equal.cpu()))
    return Ranks(*(torch.cat(column) for column in zip(*batches, strict=True)))
