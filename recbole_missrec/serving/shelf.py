"""The models of a service, each with what is shown of its items, exchanged in one step."""

import threading
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from recbole_missrec.errors import UsageError, nearest
from recbole_missrec.map.item_files import find_pictures, find_titles, thumbnail
from recbole_missrec.serving.explanation import Explainer
from recbole_missrec.serving.histories import Histories
from recbole_missrec.serving.overlay import overlay_path
from recbole_missrec.serving.recommender import Recommender
from recbole_missrec.serving.scoring import FusedScorer
from recbole_missrec.words import say

WATCHED_EVERY = 1.0  # seconds
PICTURES = 2048  # kept in memory, about 2 KiB each


class Served:
    """A loaded model and its items as a page shows them; never changed.

    Args:
        checkpoint: its path.
        options: of the configuration, values as text.
        shown: the options ``titles``, ``pictures`` and ``approximate``.

    Raises:
        UsageError: as ``Recommender.load``, or a file of titles or pictures is wrong.
    """

    def __init__(self, checkpoint: Path, options: Mapping[str, str], shown: Mapping[str, Any]):
        self.recommender = Recommender.load(checkpoint, options)
        if shown["approximate"]:
            self.recommender.make_index()
        catalogue, dataset = self.recommender.catalogue, self.recommender.config["dataset"]
        tokens = catalogue.tokens[1:].tolist()
        place = dataset, self.recommender.folder, tokens
        titles = find_titles(shown["titles"], *place)
        texts = self.recommender.overlay.texts  # of the items that came last
        texts = [""] * (len(tokens) - len(texts)) + texts
        titles = [own or title for own, title in zip(texts, titles, strict=True)]
        self.titles = ["", *(title or token for title, token in zip(titles, tokens, strict=True))]
        self.pictures = find_pictures(shown["pictures"], *place)  # by item, from 0
        self.picture = lru_cache(PICTURES)(self._picture)
        searched = [f"{title}\n{token}" for title, token in zip(titles, tokens, strict=True)]
        self._searched = pd.Series(searched, dtype=object).str.lower()
        fused = isinstance(self.recommender.scorer, FusedScorer)
        self.explainer = Explainer(self.recommender) if fused else None

    def about(self) -> dict[str, Any]:
        """What kind of model it is."""
        return {
            "model": type(self.recommender.scorer.model).__name__,
            "dataset": self.recommender.config["dataset"],
            "items": int(self.recommender.catalogue.offered.sum()),
            "explains": self.explainer is not None,
        }

    def search(self, words: str, most: int) -> list[dict[str, Any]]:
        """Items whose title or token holds some words, in the order of the catalogue."""
        there = self._searched.str.contains(words.strip().lower(), regex=False).to_numpy()
        rows = torch.from_numpy(there.nonzero()[0][:most] + 1)
        return self.named(rows)

    def named(self, rows: Tensor) -> list[dict[str, Any]]:
        """Items by token and title, and whether they have a picture."""
        tokens = self.recommender.catalogue.tokens
        return [
            {"item": tokens[row], "title": self.titles[row], "picture": row - 1 in self.pictures}
            for row in rows.tolist()
        ]

    def recommend(
        self, history: Sequence[str], k: int, exclude: bool, explain: bool
    ) -> dict[str, Any]:
        """Recommendations, with their explanation if it is asked for."""
        histories = self.recommender.histories([history])
        ranking = self.recommender.rank(histories, k, exclude)
        rows = ranking.items[0][ranking.items[0] > 0]
        items = self.named(rows)
        for item, score in zip(items, ranking.scores[0].tolist(), strict=False):
            item["score"] = score
        fallback = bool(ranking.fallback[0])
        told: dict[str, Any] = {"history": [], "interests": []}
        if self.explainer and explain and not fallback:
            for item, parts in zip(items, self.explainer.parts(histories, rows), strict=True):
                item["parts"] = parts["parts"]
            told = self._reading(self.explainer, histories)
        how = {"unknown": int(histories.unknown[0]), "fallback": "popularity" if fallback else None}
        return {"items": items, **how, **told}

    def explain(self, history: Sequence[str], item: str) -> dict[str, Any]:
        """Why an item has its score.

        Raises:
            UsageError: the model explains nothing, or nothing is known of the history or the item.
        """
        row = self.recommender.catalogue.row("item", item)
        histories = self.recommender.histories([history])
        if self.explainer is None:
            raise UsageError(f"{type(self.recommender.scorer.model).__name__} explains no scores")
        if not int(histories.lengths):
            raise UsageError("history: none of its items is known")
        (parts,) = self.explainer.parts(histories, torch.tensor([row]))
        return {"item": item, **parts, **self._reading(self.explainer, histories)}

    def _reading(self, explainer: Explainer, histories: Histories) -> dict[str, Any]:
        """Where the model looked, typical items with their titles."""
        told = explainer.reading(histories)
        for interest in told["interests"]:
            rows = torch.from_numpy(self.recommender.catalogue.rows(interest["typical"]))
            interest["typical"] = self.named(rows)
        return told

    def similar(self, item: str, k: int) -> list[dict[str, Any]]:
        """The items most like one.

        Raises:
            UsageError: there is no such item.
        """
        best = self.recommender.similar(self.recommender.catalogue.row("item", item), k)
        rows = best.items[0][best.items[0] > 0]
        alike = zip(self.named(rows), best.scores[0].tolist(), strict=False)
        return [{**named, "cosine": cosine} for named, cosine in alike]

    def _picture(self, item: str) -> bytes:
        row = self.recommender.catalogue.row("item", item)
        if row - 1 not in self.pictures:
            raise UsageError(f"item={item}: has no picture")
        try:
            return thumbnail(self.pictures[row - 1])
        except ValueError as error:
            raise UsageError(f"item={item}: its picture {error}") from error


class Shelf:
    """Models by name, the names of their files; a file that changes is loaded beside the old one.

    Whoever has taken a model keeps it until done, so that no request is lost.

    Args:
        checkpoints: paths.
        options: as of ``Served``.
        shown: as of ``Served``.

    Raises:
        UsageError: two have one name, or as ``Served``.
    """

    def __init__(
        self, checkpoints: Sequence[str], options: Mapping[str, str], shown: Mapping[str, Any]
    ) -> None:
        self._how = options, shown
        self._paths = {Path(checkpoint).stem: Path(checkpoint) for checkpoint in checkpoints}
        if len(self._paths) < len(checkpoints):
            raise UsageError(f"--beside={checkpoints[-1]}: has the name of the other checkpoint")
        self._seen = {name: _signature(path) for name, path in self._paths.items()}
        self._models = {name: Served(path, *self._how) for name, path in self._paths.items()}
        self._ended = threading.Event()

    @property
    def names(self) -> list[str]:
        """Of the models, in the order of the command line."""
        return list(self._paths)

    def take(self, name: str) -> Served:
        """A model as it is now.

        Raises:
            UsageError: there is none of this name.
        """
        if name not in self._models:
            raise UsageError(f"model={name}: no such model; {nearest(name, self._models)}")
        return self._models[name]

    def refresh(self) -> None:
        """Load what has changed; what cannot be loaded is reported, and the old model stays."""
        for name, path in self._paths.items():
            signature = _signature(path)
            if signature != self._seen[name]:
                self._seen[name] = signature
                try:
                    self._models[name] = Served(path, *self._how)
                except Exception as error:  # whatever it is, the others are watched on
                    why = error if isinstance(error, UsageError) else repr(error)
                    say(f"{name} is kept as it was: {why}")
                else:
                    say(f"{name} has changed and is loaded anew")

    def watch(self) -> None:
        """Refresh until ``end``."""
        while not self._ended.wait(WATCHED_EVERY):
            self.refresh()

    def end(self) -> None:
        """Stop watching."""
        self._ended.set()


def _signature(checkpoint: Path) -> list[tuple[int, int, int] | None]:
    """What changes with the files of a checkpoint."""
    found: list[tuple[int, int, int] | None] = []
    for path in (checkpoint, overlay_path(checkpoint)):
        try:
            status = path.stat()
            found.append((status.st_mtime_ns, status.st_size, status.st_ino))
        except OSError:
            found.append(None)
    return found
