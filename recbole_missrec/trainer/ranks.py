"""Ranks of the targets of an evaluation, for any RecBole model and loader."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import recbole.trainer.trainer as recbole_trainer
import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from torch import Tensor

from recbole_missrec import processes
from recbole_missrec.data.domains import domains, item_domains
from recbole_missrec.errors import Diverged
from recbole_missrec.evaluation.beyond import count_recommendations
from recbole_missrec.evaluation.ranking import count_ranks, ranking_metrics


class Ranks(NamedTuple):
    """Where the target of each evaluated row was ranked.

    Attributes:
        users: internal ids, int64 ``[rows]``.
        targets: internal ids, int64 ``[rows]``.
        better: items scored above the target, int64 ``[rows]``.
        equal: others with its score, int64 ``[rows]``.
        scores: of the targets, float64 ``[rows]``.
        domain: of the targets, int64 ``[rows]``; None unless several data sets are trained on
            together.
        recommended: k of ``topk`` -> how often each item is in a list of k, int64 ``[items]``;
            None where it was not asked for or candidates are sampled.
    """

    users: Tensor
    targets: Tensor
    better: Tensor
    equal: Tensor
    scores: Tensor
    domain: Tensor | None
    recommended: dict[int, Tensor] | None


def rank_targets(
    trainer: Any, eval_data: Any, show_progress: bool, count_items: bool
) -> Ranks | None:
    """Rank each row's target, batch by batch; memory is that of a batch's scores.

    Processes share the batches, and all get the ranks of all rows.

    Where several data sets are trained on together, a target is ranked among the items of its own.

    Args:
        trainer: a RecBole trainer, whose model is in evaluation mode.
        eval_data: an evaluation data loader of RecBole.
        show_progress: show a bar.
        count_items: count how often each item is recommended, in a full ranking.

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
    domain_of = item_domains(eval_data._dataset) if full else None  # [items]
    recommended: dict[int, Tensor] | None = None
    if full and count_items:
        zeros = torch.zeros(trainer.tot_item_num, dtype=torch.int64)
        recommended = {k: zeros.clone() for k in trainer.config["topk"]}
    found: dict[int, tuple[Tensor, ...]] = {}  # by number of a batch
    one_target = True
    bar = recbole_trainer.tqdm(eval_data, desc="evaluate", disable=None if show_progress else True)
    for number, batch in enumerate(bar):
        if number % processes.world_size() != processes.rank():
            continue
        interaction, scores, rows, targets = score_batch(batch)
        if rows is None or not torch.equal(rows, torch.arange(len(scores))):
            one_target = False
            break
        targets = targets.to(scores.device)
        if domain_of is not None:
            domain_of = domain_of.to(scores.device)
            scores.masked_fill_(domain_of != domain_of[targets][:, None], -torch.inf)
        try:
            better, equal = count_ranks(scores, targets)
        except ValueError as error:
            raise Diverged(str(error)) from error
        if recommended is not None:
            for k, counts in count_recommendations(scores, list(recommended)).items():
                recommended[k] += counts
        users = interaction[user_field].cpu()
        if not full:  # a user's positive and sampled items stand together
            users = users[torch.searchsorted(batch[1], rows)]
        of_targets = scores.gather(1, targets[:, None]).squeeze(1).double()  # [batch]
        columns = (targets, better, equal, of_targets)
        found[number] = (users, *(column.cpu() for column in columns))
    if not all(processes.of_all(one_target)):
        return None
    found = dict(item for part in processes.of_all(found) for item in part.items())
    batches = (columns for _, columns in sorted(found.items()))
    users, targets, better, equal, of_targets = map(torch.cat, zip(*batches, strict=True))
    if recommended is not None:
        recommended = {k: processes.total(counts) for k, counts in recommended.items()}
    domain = None if domain_of is None else domain_of.cpu()[targets]  # [rows]
    return Ranks(users, targets, better, equal, of_targets, domain, recommended)


@contextmanager
def same_candidates(seed: int) -> Iterator[None]:
    """Have RecBole sample the candidates of an evaluation as in any other of the seed.

    It draws from NumPy's generator, which goes on afterwards as if nothing had been drawn.
    """
    state = np.random.get_state()
    np.random.seed(seed % 2**32)
    try:
        yield
    finally:
        np.random.set_state(state)


def metrics_by_domain(ranks: Ranks, metrics: list[str], config: Any) -> dict[str, dict[str, float]]:
    """Metrics of the rows of each data set; nothing unless several are trained on together.

    Args:
        ranks: of an evaluation.
        metrics: names of ranking metrics.
        config: configuration of the run.

    Returns:
        Name of a data set with at least one row -> its metrics.
    """
    figures: dict[str, dict[str, float]] = {}
    if ranks.domain is None:
        return figures
    for index, domain in enumerate(domains(config)):
        rows = ranks.domain == index  # [rows]
        if rows.any():
            counts = ranks.better[rows], ranks.equal[rows]
            figures[domain.name] = ranking_metrics(*counts, metrics, config["topk"])
    return figures
