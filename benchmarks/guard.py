"""Whether a benchmark's ratios are worse than those of an earlier run."""

import json
from pathlib import Path
from typing import Any

from tabulate import tabulate

from recbole_missrec.errors import UsageError

WORST = 0.75  # of the earlier ratio: the padded form's time alone varies by a fifth and more


def ratios(result: dict[str, Any]) -> dict[str, float]:
    """The ratios of ``benchmarks.train_epoch``, which depend less on the machine than seconds.

    Args:
        result: what its ``--out`` holds.

    Returns:
        Name to ratio; more is better.
    """
    over = result["padded_over_missrec"]
    step = result["step"]["whole step"]
    return {
        "training, padded / MISSRec": over["train_seconds"],
        "evaluation, padded / MISSRec": over["evaluate_seconds"],
        "memory, padded / MISSRec": over["memory_mib"],
        "step, floor / MISSRec": step["floor_ms"] / step["measured_ms"],
    }


def read_ratios(path: Path) -> dict[str, float]:
    """Ratios of an earlier run.

    Raises:
        UsageError: no such file, or not one that ``--out`` wrote.
    """
    try:
        return ratios(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UsageError(f"--against: cannot read {path}: {error.strerror}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"--against: {path} is not what --out writes") from error


def comparison(now: dict[str, float], earlier: dict[str, float]) -> tuple[str, list[str]]:
    """Ratios side by side.

    Returns:
        A table, and the names of those below ``WORST`` times the earlier.
    """
    rows = [[name, earlier[name], now[name], now[name] / earlier[name]] for name in now]
    lost = [name for name in now if now[name] < WORST * earlier[name]]
    return tabulate(rows, ["ratio", "earlier", "now", "now / earlier"], floatfmt=".2f"), lost
