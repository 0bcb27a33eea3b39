"""A trained model, from raw tokens to raw tokens."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from recbole_missrec.data.dataset import data_identity
from recbole_missrec.data.domains import domains
from recbole_missrec.data.locate import find_files
from recbole_missrec.errors import UsageError
from recbole_missrec.model.history import History
from recbole_missrec.preparation import recbole_may_refuse
from recbole_missrec.quick_start import stored_config
from recbole_missrec.registry import OWN_MODELS, get_dataset_class, get_model
from recbole_missrec.serving.catalogue import Catalogue
from recbole_missrec.serving.histories import Histories, flatten, held_items, look_up
from recbole_missrec.serving.overlay import Overlay, check_widths, extend, read_overlay
from recbole_missrec.serving.scoring import Scorer, make_scorer
from recbole_missrec.serving.topk import Best, exact, in_order
from recbole_missrec.serving.users import Users, requested, users_of
from recbole_missrec.trainer.checkpoint import load_checkpoint, load_weights
from recbole_missrec.trainer.lora import without_lora

if TYPE_CHECKING:
    from recbole_missrec.serving.approximate import Index

FALLBACK = "popularity"
COLUMNS = [
    ("items", pa.list_(pa.string())),
    ("scores", pa.list_(pa.float64())),
    ("unknown", pa.int64()),
    ("fallback", pa.string()),
]


class Ranking(NamedTuple):
    """Recommendations of some rows, best first.

    Attributes:
        items: rows of the catalogue, long ``[rows, k]``; 0 where there are fewer than k.
        scores: ``[rows, k]``; of a fallback the interactions of the items.
        fallback: rows without a known history, which get the most popular items, bool ``[rows]``.
    """

    items: Tensor
    scores: Tensor
    fallback: Tensor


class Recommender:
    """Recommends items to histories; what users have bought before, by the data set.

    Args:
        scorer: of a model in evaluation mode.
        catalogue: of its items.
        users: raw tokens and histories of the users of the data set.
        config: configuration of the training.
        overlay: what has changed since then; the catalogue and the model have it.

    Attributes:
        added: number of items that came after the training.
        folder: of the data set.
        index: to search approximately by, None to search exactly.
    """

    index: "Index | None" = None

    def __init__(
        self, scorer: Scorer, catalogue: Catalogue, users: Users, config: Any, overlay: Overlay
    ) -> None:
        self.scorer, self.catalogue, self.users, self.config = scorer, catalogue, users, config
        self.overlay, self.added = overlay, len(overlay.tokens)
        self.folder = Path(config["data_path"])

    @classmethod
    def load(
        cls, checkpoint: str | Path, options: Mapping[str, str] | None = None
    ) -> "Recommender":
        """Load a checkpoint; no code in it is run.

        The data set is read, since it has the tokens and features of the items, but neither split
        nor laid out for training. Time is that of reading it and of adapting all items once;
        memory that of its interactions, the features and the vectors of all items.

        Args:
            checkpoint: path of a best checkpoint of MISSRec, UniSRec, VQRec or SASRecContent.
            options: that override the stored ones, such as ``data_path``, values as text.

        Raises:
            UsageError: not such a checkpoint, or the data set is absent or another.
        """
        path = str(checkpoint)
        stored = load_checkpoint(path)
        if "optimizer" in stored:
            raise UsageError(f"{path}: of an unfinished run; go on with --resume={path}")
        if stored["model"] not in OWN_MODELS:
            raise UsageError(f"{path}: of {stored['model']}, a model of RecBole; see `evaluate`")
        config = stored_config(stored, dict(options or {}))
        if len(domains(config)) > 1:
            raise UsageError(f"{path}: trained on several data sets; fine-tune it on one of them")
        find_files(config)
        with recbole_may_refuse(config):
            dataset = get_dataset_class(config)(config)
            identity = data_identity(dataset)
            users = users_of(dataset)
            interactions = dataset.inter_feat[dataset.iid_field]
            popularity = np.bincount(interactions, minlength=dataset.item_num)
            dataset._change_feat_format()  # as its split would; models read tensors
            model = get_model(config["model"])(config, dataset).to(config["device"]).eval()
        stored["state_dict"] = without_lora(stored["state_dict"])
        if config["unseen_bias"] and "unseen" not in stored["state_dict"]:
            raise UsageError(
                f"--unseen_bias={config['unseen_bias']}: {path} does not say which items its "
                "training read; train it again, or see `evaluate`"
            )
        load_weights(path, stored, model, identity)
        overlay = read_overlay(path, stored["data"])
        if overlay.tokens:
            check_widths(path, model, overlay.blocks)
            extend(model, overlay.blocks)
        tokens = [*dataset.field2id_token[dataset.iid_field][1:], *overlay.tokens]
        popularity = np.pad(popularity, (0, len(overlay.tokens)))
        catalogue = Catalogue(tokens, torch.from_numpy(popularity))
        catalogue.offered[catalogue.rows(overlay.removed)] = False
        return cls(make_scorer(model, path), catalogue, users, config, overlay)

    @property
    def longest(self) -> int:
        """Items of a history that are read, at most."""
        return self.config["MAX_ITEM_LIST_LENGTH"]

    def histories(self, tokens: Sequence[Sequence[str]]) -> Histories:
        """Look histories up; oldest items first."""
        return look_up(self.catalogue, *flatten(tokens), self.longest)

    def requested(self, part: pa.Table) -> Histories:
        """Histories of rows of a file, see ``users.requested``."""
        return requested(part, self.catalogue, self.users, self.longest)

    def rank(
        self,
        histories: Histories,
        k: int = 10,
        exclude_history: bool = False,
        offered: Tensor | None = None,
    ) -> Ranking:
        """The best items for each history, as the evaluation ranks them.

        Time grows as ``rows * items * parts * dim``, memory as ``rows * k`` and a block of scores.
        With an index it is another ranking of likely candidates, see ``approximate``, unless
        candidates are given.

        Args:
            histories: what is known of them.
            k: items of a list; there are fewer where fewer are offered.
            exclude_history: leave out what stands in the history.
            offered: candidates, bool ``[items]``; all that the catalogue offers by default.
        """
        known = histories.lengths > 0  # [rows]
        ranking = self._popular(
            len(known), k, self.catalogue.offered if offered is None else offered
        )
        rows = known.nonzero().squeeze(1)
        if len(rows):
            some = histories.take(rows)
            best = self._rank(some, k, exclude_history, offered)
            ranking.items[rows], ranking.scores[rows] = best.items.cpu(), best.scores.double().cpu()
        return ranking._replace(fallback=~known)

    def _rank(self, histories: Histories, k: int, exclude: bool, offered: Tensor | None) -> Best:
        u, history = self.scorer.embed(histories), History(histories.items, histories.lengths)
        if self.index is not None and offered is None:
            from recbole_missrec.serving.approximate import approximate

            return approximate(self.scorer, self.index, u, history, k, exclude)
        offered = self.catalogue.offered if offered is None else offered
        return exact(self.scorer, u, held_items(history), offered, k, exclude)

    def make_index(self) -> None:
        """Search approximately from now on.

        Raises:
            UsageError: faiss is not installed.
        """
        if find_spec("faiss") is None:
            raise UsageError("--approximate=True: needs faiss; `pip install faiss-cpu`")
        from recbole_missrec.serving.approximate import Index

        self.index = Index(self.scorer.views(), self.catalogue.offered, self.scorer.raised)

    def _popular(self, rows: int, k: int, offered: Tensor) -> Ranking:
        """The most popular items for every row."""
        counts = self.catalogue.popularity.double().masked_fill(~offered, -torch.inf)
        # of as many interactions the first row, or another k would choose others
        order = counts * len(counts) - torch.arange(len(counts))
        items = order.topk(min(k, len(counts))).indices
        best = in_order(Best(items[None], counts[items][None]))
        short = (0, k - len(items))
        return Ranking(
            torch.nn.functional.pad(best.items, short).repeat(rows, 1),
            torch.nn.functional.pad(best.scores, short, value=-torch.inf).repeat(rows, 1),
            torch.ones(rows, dtype=torch.bool),
        )

    def recommend(self, histories: Sequence[Sequence[str]], **how: Any) -> list[dict[str, Any]]:
        """Recommendations as plain values.

        A row has ``items`` and ``scores``, ``unknown``, the number of tokens that no item has, and
        ``fallback``, ``"popularity"`` where nothing is known of the history, else None.

        Args:
            histories: raw tokens, oldest first; those that are unknown are skipped and counted.
            how: as ``rank``.
        """
        found = self.histories(histories)
        return self.table(found, self.rank(found, **how)).to_pylist()

    def table(self, histories: Histories, ranking: Ranking) -> pa.Table:
        """Recommendations as columns: items and their scores, unknown tokens, the fallback used."""
        listed = ranking.items > 0  # [rows, k]
        ends = np.pad(listed.sum(1).cumsum(0).numpy(), (1, 0)).astype(np.int32)
        tokens = pa.array(self.catalogue.tokens[ranking.items[listed].numpy()], pa.string())
        fallback = pa.array([None, FALLBACK]).take(pa.array(ranking.fallback.long().numpy()))
        columns = [
            pa.ListArray.from_arrays(ends, tokens),
            pa.ListArray.from_arrays(ends, ranking.scores[listed].numpy()),
            histories.unknown.numpy(),
            fallback,
        ]
        return pa.table(columns, schema=pa.schema(COLUMNS))

    @torch.no_grad()
    def similar(self, item: int, k: int = 10) -> Best:
        """The items most like one, by the mean cosine over the parts that both have.

        Args:
            item: its row.
            k: items of the list.

        Returns:
            One row, cosines as scores.
        """
        model = self.scorer.model
        total = torch.zeros(len(self.catalogue), device=model.device)  # [items]
        common = torch.zeros_like(total)
        for part in self.scorer.parts:
            own = torch.nn.functional.normalize(part[item], dim=0)  # [dim]
            length = part.norm(dim=1)  # [items]
            total += part @ own / length.clamp_min(1e-12)
            common += (length > 0) & own.any()
        cosines = (total / common).masked_fill(common == 0, -torch.inf)
        cosines[~self.catalogue.offered] = -torch.inf
        cosines[item] = -torch.inf
        best = cosines.topk(min(k, len(cosines)))
        return in_order(Best(best.indices[None], best.values[None]))
