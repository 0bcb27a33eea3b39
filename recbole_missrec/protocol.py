"""Checks of the options that say how a model is evaluated: split, candidates, metrics."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from recbole_missrec.errors import UsageError, nearest
from recbole_missrec.evaluation.ranking import METRICS as RANKING_METRICS

LIST_METRICS = (*RANKING_METRICS, "shannonentropy")  # RecBole's others fail with its own collector
VALUE_METRICS = ("gauc", "auc", "logloss", "rmse", "mae")  # of no list of k items
ORDERS = ("RO", "TO")
SPLITS = ("LS", "RS", "TS")
EVAL_ARGS = ("split", "group_by", "order", "mode")
GROUPS = (None, "none", "user")
PHASES = ("valid", "test")


def check_protocol(values: Mapping[str, Any]) -> None:
    """Refuse metrics and evaluation settings that RecBole lacks or would misread.

    Args:
        values: the final value of each option.

    Raises:
        UsageError: names the option, the value and what is allowed or nearest.
    """
    _check_metrics(values)
    _check_eval_args(values["eval_args"] or {})


def _check_metrics(values: Mapping[str, Any]) -> None:
    metrics, topk = values["metrics"], values["topk"]
    metrics = [metrics] if isinstance(metrics, str) else metrics
    topk = topk if isinstance(topk, list) else [topk]
    if not isinstance(metrics, list) or not metrics:
        raise UsageError(f"--metrics={metrics}: must be a list of names, like [Recall, NDCG]")
    if not topk or any(type(k) is not int or not 1 <= k <= 10**6 for k in topk):
        raise UsageError(f"--topk={values['topk']}: must be whole numbers from 1 to 1000000")
    for metric in metrics:
        if str(metric).lower() not in LIST_METRICS + VALUE_METRICS:
            near = nearest(str(metric), LIST_METRICS + VALUE_METRICS)
            raise UsageError(f"--metrics: unknown '{metric}'; {near}")
    if values.get("per_user") and not any(name.lower() in RANKING_METRICS for name in metrics):
        raise UsageError("--per_user: needs a ranking metric, such as --metrics=[Recall]")
    check_computed("valid_metric", str(values["valid_metric"]), metrics, topk)


def check_computed(option: str, name: str, metrics: Sequence[str], topk: Sequence[int]) -> None:
    """See that a figure is one of those that are computed, in any case.

    Args:
        option: that names it.
        name: of the figure, such as NDCG@10.
        metrics: names of metrics.
        topk: lengths of the lists.

    Raises:
        UsageError: it is not; names the nearest.
    """
    computed = [
        figure
        for metric in metrics
        for figure in (
            [metric] if metric.lower() in VALUE_METRICS else [f"{metric}@{k}" for k in topk]
        )
    ]
    if name.lower() not in [figure.lower() for figure in computed]:
        raise UsageError(
            f"--{option}={name}: not computed with these metrics and topk; "
            + nearest(name, computed)
        )


def _check_eval_args(eval_args: Mapping[str, Any]) -> None:
    for key in eval_args:
        if key not in EVAL_ARGS:
            raise UsageError(f"--eval_args: unknown '{key}'; {nearest(str(key), EVAL_ARGS)}")
    order = eval_args.get("order", "TO")
    if order not in ORDERS:
        raise UsageError(f"--eval_args: unknown order '{order}'; {nearest(str(order), ORDERS)}")
    group_by = eval_args.get("group_by")
    if group_by not in GROUPS:
        raise UsageError(f"--eval_args: unknown group_by '{group_by}'; choose from 'none', 'user'")
    _check_split(eval_args.get("split", {"LS": "valid_and_test"}))
    mode = eval_args.get("mode", "full")
    for phase in mode if isinstance(mode, dict) else ():
        if phase not in PHASES:
            raise UsageError(f"--eval_args: mode of '{phase}'; {nearest(str(phase), PHASES)}")
    for phase_mode in mode.values() if isinstance(mode, dict) else [mode]:
        if not re.fullmatch(r"full|labeled|(uni|pop)[1-9]\d*", str(phase_mode)):
            raise UsageError(
                f"--eval_args: unknown mode '{phase_mode}'; choose from 'full', 'labeled', "
                "'uni100', 'pop100' or another number of sampled items"
            )


def _check_split(split: Any) -> None:
    """Each part must hold rows: validation chooses the epoch, the test part is reported."""
    if not isinstance(split, dict) or len(split) != 1:
        raise UsageError(
            f"--eval_args: split {split}: must be one mapping, like {{LS: valid_and_test}}"
        )
    ((how, parts),) = split.items()
    if how not in SPLITS:
        raise UsageError(f"--eval_args: unknown split '{how}'; {nearest(str(how), SPLITS)}")
    if how == "LS" and parts != "valid_and_test":
        raise UsageError(f"--eval_args: split {{LS: {parts}}}: did you mean 'valid_and_test'?")
    if how != "LS" and not (
        isinstance(parts, list)
        and len(parts) == 3
        and all(type(part) in (int, float) and part > 0 for part in parts)
    ):
        raise UsageError(
            f"--eval_args: split {{{how}: {parts}}}: must be three shares above 0, "
            "like [0.8, 0.1, 0.1]"
        )
