"""The best items of a large catalogue, likely ones: candidates from indexes, scored exactly.

A fused score is no inner product. For alpha 0 it is, but for what raises or lowers an item, the
plain mean of the cosines, one inner product with the mean of an item's vectors; for a large alpha
it is the largest cosine of a modality. So candidates come from an index over the means and one
over each modality: where alpha lies between, the best items are near the top of one of them
(recall: ``benchmarks.serve``).
"""

from collections.abc import Mapping

import faiss
import torch
from torch import Tensor

from recbole_missrec.model.history import History
from recbole_missrec.serving.scoring import Scorer
from recbole_missrec.serving.topk import Best, in_order

LISTS = 2  # times the root of the items
PROBES = 32  # lists looked into, at least; and one of 16
CANDIDATES = 200  # of each index, at least; and 4 for each item of the list
ROWS = 8  # whose candidates are scored together: their vectors stay in the caches
_SHORTEST = 32  # items of a list, on average, at least
_SAMPLES = 64  # items of a list that its centroid is trained with
_SEED = 2020


class Index:
    """Inverted files of faiss over several views of the items (IVF, inner product, not quantised).

    Making them takes time ``views * items^1.5 * dim``; a search of one row looks into a sixteenth
    of the items of each view, of fewer than 65,536 items into more: of a million items of two
    modalities 0.9925 of the ten best are found in 11 % of the exact search's time
    (``benchmarks.serve``). Memory: ``views * items * dim`` float32.

    Args:
        views: vectors of all items, ``[items, dim]`` each, by name.
        offered: which of them can be found, bool ``[items]``.
        raised: those whose scores are raised; they are looked for among themselves, too, by the
            first view. None for none.

    Attributes:
        files: name -> a faiss index, whose ids are rows of the items.
        offered: which items can be found, bool ``[items]``.
    """

    def __init__(
        self, views: Mapping[str, Tensor], offered: Tensor, raised: Tensor | None = None
    ) -> None:
        self.offered = offered
        rows = offered.nonzero().squeeze(1)
        self.files = {name: _inverted_file(view, rows) for name, view in views.items()}
        if raised is not None and (offered & raised).any():
            first = next(iter(views.values()))
            self.files["raised"] = _inverted_file(first, (offered & raised).nonzero().squeeze(1))

    def candidates(self, u: Tensor, k: int) -> Tensor:
        """Items whose inner product with a row is large in one of the views.

        Args:
            u: ``[rows, dim]``.
            k: items of each view.

        Returns:
            Long ``[rows, views * k]``, 0 where there are fewer; an item may be there several times.
        """
        queries = u.float().cpu().numpy()
        found = [torch.from_numpy(file.search(queries, k)[1]) for file in self.files.values()]
        return torch.cat(found, 1).clamp_min(0)


def _inverted_file(view: Tensor, rows: Tensor) -> faiss.IndexIVFFlat:
    faiss.omp_set_num_threads(torch.get_num_threads())
    vectors = view[rows].float().cpu().numpy()  # [offered, dim]
    lists = max(1, int(min(LISTS * len(rows) ** 0.5, len(rows) / _SHORTEST)))
    nearest_list = faiss.IndexFlatIP(view.shape[1])
    file = faiss.IndexIVFFlat(nearest_list, view.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
    file.cp.seed, file.cp.max_points_per_centroid = _SEED, _SAMPLES
    file.cp.min_points_per_centroid = 1  # no warning on stderr
    file.nprobe = max(PROBES, lists // 16)
    file.train(vectors)
    file.add_with_ids(vectors, rows.numpy())
    return file


def approximate(
    scorer: Scorer, index: Index, u: Tensor, history: History, k: int, exclude: bool = False
) -> Best:
    """The k best of the candidates and, unless excluded, of the offered items of the history.

    Time of a row is that of searching the index and of scoring some hundred items; memory that of
    the vectors of the candidates of as many rows as are scored together.

    Args:
        scorer: of the model.
        index: over ``scorer.views()``.
        u: sequence embeddings, ``[rows, dim]``.
        history: of each row.
        k: items of a row.
        exclude: leave out the items of its history.
    """
    parts = []
    for first in range(0, len(u), ROWS):
        rows = slice(first, first + ROWS)
        part = History(history.items[rows], history.lengths[rows])
        parts.append(_approximate(scorer, index, u[rows], part, k, exclude))
    return Best(*map(torch.cat, zip(*parts, strict=True)))


def _approximate(
    scorer: Scorer, index: Index, u: Tensor, history: History, k: int, exclude: bool
) -> Best:
    """The same for as many rows as are scored together."""
    items = torch.cat([index.candidates(u, max(CANDIDATES, 4 * k)), history.items], 1)
    items = items.sort(1).values  # [rows, candidates]
    left_out = (items == 0) | ~index.offered[items]
    left_out[:, 1:] |= items[:, 1:] == items[:, :-1]  # an item counts once
    scores = scorer.score_own(u, items).cpu()
    held = (items[:, :, None] == history.items[:, None]).any(2)
    if exclude:
        left_out |= held
    elif scorer.model.history_bias is not None:
        last = history.items.gather(1, history.lengths[:, None] - 1)  # [rows, 1]
        scores += torch.where(held, scorer.bias(items == last).cpu(), 0)
    scores.masked_fill_(left_out, -torch.inf)
    best = scores.topk(min(k, scores.shape[1]))
    return in_order(Best(items.gather(1, best.indices), best.values))
