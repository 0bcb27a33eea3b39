"""Figures that others have published, for a data set with exactly their counts."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from recbole_missrec.report.results import Run


@dataclass(frozen=True)
class Published:
    """What is published on one data set.

    Attributes:
        source: where the figures stand.
        note: what to know of them.
        figures: model, the options they were measured with, and metrics such as ``R@10``.
    """

    source: str
    note: str
    figures: tuple[dict[str, Any], ...]

    def of(self, run: Run) -> dict[str, float]:
        """Metric -> figure of a run's model with its options; empty where none is published."""
        own = {**run.config, "model": run.model}
        for figure in self.figures:
            options = {name: value for name, value in figure.items() if "@" not in name}
            if all(own.get(name) == value for name, value in options.items()):
                return {name: value for name, value in figure.items() if "@" in name}
        return {}


def published(runs: list[Run]) -> Published | None:
    """What is published on the data set of some runs, or None.

    Args:
        runs: of one data set. Each must have the published counts, and per-user results of all its
            users: figures of another cut of the data are of another task.
    """
    content = _content()
    for name, data in content["data"].items():
        if all(
            run.counts == data["counts"] and len(run.users) == data["counts"]["users"]
            for run in runs
        ):
            source = f"Published on {name}: {content['source']}"
            return Published(source, content["note"], tuple(data["figures"]))
    return None


@cache
def _content() -> dict[str, Any]:
    text = files("recbole_missrec.report").joinpath("published.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)
