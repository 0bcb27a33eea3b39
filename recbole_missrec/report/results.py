"""The folder that a comparison leaves: its plan, and the result, users or error of each run."""

import json
import re
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import pandas as pd

from recbole_missrec.errors import UsageError
from recbole_missrec.evaluation.per_user import read_per_user

FORMAT = "recbole-missrec comparison 1"
NOT_RUN = "not run yet"


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        label: name of its row, such as ``MISSRec:text_only``.
        model: name of the model.
        dataset: name of the data set.
        seed: of the run.
        users: rows of `read_per_user`.
        curve: columns epoch, seconds (of training, since its start), loss, and a column for each
            metric on validation, NaN where it was not measured.
        seconds: wall time of the whole run.
        cost: peak_memory_mib, trainable, total (parameters), epochs, best_epoch,
            seconds_per_epoch; None where unknown.
        beyond: figures beyond accuracy by name, empty where there are none.
        counts: users, items and interactions of the data set, empty where unknown.
        environment: versions and hardware by name.
        config: all options.
    """

    label: str
    model: str
    dataset: str
    seed: int
    users: pd.DataFrame
    curve: pd.DataFrame
    seconds: float
    cost: dict[str, float | None]
    beyond: dict[str, float]
    counts: dict[str, int]
    environment: dict[str, str]
    config: dict[str, Any]


@dataclass(frozen=True)
class Unfinished:
    """A run of the plan without a result, and why."""

    label: str
    dataset: str
    seed: int
    error: str


def read_results(out: Path) -> tuple[list[Run], list[Unfinished]]:
    """Read what a comparison has left so far.

    Args:
        out: its folder.

    Returns:
        The finished runs and the others, each in the order of the plan.

    Raises:
        UsageError: the folder is not of a comparison, or a file in it is damaged or of another run.
    """
    path = out / "plan.json"
    plan = _read_json(path)
    if plan.get("format") != FORMAT:
        raise UsageError(f"{path}: is not the plan of a comparison (format '{FORMAT}')")
    try:
        planned = [
            (str(run["label"]), str(run["model"]), str(run["dataset"]), int(run["seed"]))
            for run in plan["runs"]
        ]
        digests = [str(run["digest"]) for run in plan["runs"]]
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error
    for digest in digests:
        if not re.fullmatch("[0-9a-f]+", digest):
            raise UsageError(f"{path}: '{digest}' is not the digest of a run")

    finished, others = [], []
    for (label, model, dataset, seed), digest in zip(planned, digests, strict=True):
        identity = {"label": label, "model": model, "dataset": dataset, "seed": seed}
        result, failed = out / f"{digest}.json", out / f"{digest}.error.json"
        if result.exists():
            finished.append(_read_run(result, identity))
        elif failed.exists():
            said = str(_read_own(failed, identity).get("error", "no message"))
            others.append(Unfinished(label, dataset, seed, said.strip()))
        else:
            others.append(Unfinished(label, dataset, seed, NOT_RUN))
    return finished, others


def _read_run(path: Path, identity: dict[str, Any]) -> Run:
    result = _read_own(path, identity)
    try:
        curve = pd.DataFrame(
            {
                "epoch": int(epoch["epoch"]),
                "seconds": seconds,
                "loss": float(epoch["loss"]),
                **{name: float(value) for name, value in (epoch["valid"] or {}).items()},
            }
            for epoch, seconds in zip(
                result["curve"],
                accumulate(float(epoch["seconds"]) for epoch in result["curve"]),
                strict=True,
            )
        )
        cost = {
            **{name: result["parameters"][name] for name in ("trainable", "total")},
            **{name: result[name] for name in ("peak_memory_mib", "seconds_per_epoch")},
            **{name: result[name] for name in ("epochs", "best_epoch")},
        }
        environment = {**result["versions"], **result["machine"]}
        return Run(
            **identity,
            users=read_per_user(path.with_suffix(".parquet")),
            curve=curve,
            seconds=float(result["seconds"]),
            cost={name: None if value is None else float(value) for name, value in cost.items()},
            beyond={
                name: float(value) for name, value in (result["beyond_accuracy"] or {}).items()
            },
            counts={name: int(count) for name, count in (result.get("counts") or {}).items()},
            environment={name: str(value) for name, value in environment.items()},
            config=dict(result["config"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error


def _read_own(path: Path, identity: dict[str, Any]) -> dict[str, Any]:
    """An object that names the run which the plan expects there.

    Its label may be another: labels whose options are the same share a run.
    """
    content = _read_json(path)
    for key, value in identity.items():
        if key != "label" and content.get(key) != value:
            raise UsageError(
                f"{path}: is of another run: its {key} is '{content.get(key)}', "
                f"that of the plan '{value}'"
            )
    return content


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{path}: is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}: holds no object")
    return content


def _damaged(path: Path, error: Exception) -> UsageError:
    reason = f"no {error}" if isinstance(error, KeyError) else str(error)
    return UsageError(f"{path}: is damaged, or not of a comparison: {reason}")
