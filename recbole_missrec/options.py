"""The one place where option names and values are checked; defaults stand in ``props/``."""

import ast
import json
import re
from collections.abc import Iterable, Mapping
from functools import partial
from importlib.util import find_spec
from typing import Any

import yaml
from recbole.utils import argument_list
from torch.nn import ModuleDict

from recbole_missrec.errors import UsageError, nearest

CHOICES: dict[str, tuple[str, ...]] = {
    "learner": ("adam", "adamw", "sgd", "adagrad", "rmsprop", "sparse_adam"),
    "state": ("debug", "info", "warning", "error", "critical"),
    "loss_type": ("CE", "BPR"),
    "roles": ("item_queries", "interest_queries"),
    "structure": ("encoder_decoder", "no_decoder", "no_interests"),
    "seq_mm_fusion": ("add", "contextual"),
    "item_mm_fusion": ("static", "dynamic_shared", "dynamic_instance"),
    "interest_method": ("dpc_knn", "kmeans"),
    "orthogonality": ("mean_cosine", "released"),
    "softmax": ("full", "sampled"),
    "tune": ("full", "adapters"),
    "hidden_act": ("gelu", "relu", "swish", "tanh", "sigmoid"),
}
# lowest and highest value allowed, both included; a whole number where the bounds are whole
RANGES: dict[str, tuple[float, float]] = {
    "epochs": (0, 10**6),
    "train_batch_size": (1, 10**9),
    "eval_batch_size": (1, 10**12),
    "learning_rate": (0.0, 10.0),
    "weight_decay": (0.0, 10.0),
    "stopping_step": (0, 10**6),
    "eval_step": (0, 10**6),
    "worker": (0, 1024),
    "embedding_size": (1, 10**5),
    "hidden_size": (1, 10**5),
    "inner_size": (1, 10**6),
    "n_heads": (1, 1024),
    "n_layers": (1, 100),
    "n_encoder_layers": (1, 100),
    "n_decoder_layers": (1, 100),
    "dropout": (0.0, 0.99),
    "hidden_dropout_prob": (0.0, 0.99),
    "attn_dropout_prob": (0.0, 0.99),
    "initializer_range": (0.0, 10.0),
    "layer_norm_eps": (0.0, 1.0),
    "num_layers": (1, 100),
    "temperature": (1e-6, 1e3),
    "gamma": (0.0, 1e6),
    "id_weight": (0.0, 1e6),
    "softmax_samples": (1, 10**7),
    "interest_ratio": (1e-9, 1.0),
    "knn_local_ratio": (1e-9, 1.0),
    "interest_every": (1, 10**6),
    "max_train_prefixes": (1, 10**9),
    "MAX_ITEM_LIST_LENGTH": (1, 10**6),
    "seed": (0, 2**31 - 1),
}
# options that are off by default, which therefore does not show their type
TEXTS = ("result_file", "per_user", "resume")
MAPPINGS = ("clip_grad_norm", "seq_len", "threshold", "val_interval")
EVAL_ARGS = ("split", "group_by", "order", "mode")
METRICS: tuple[str, ...] = ("recall", "hit", "ndcg", "mrr", "precision", "map")
METRICS += ("shannonentropy",)  # RecBole's other list metrics fail with its own collector
VALUE_METRICS = ("gauc", "auc", "logloss", "rmse", "mae")  # of no list of k items


class OptionLoader(yaml.SafeLoader):
    """YAML values without code; ``1e-3`` is a number, as in RecBole's own loader; no dates."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


OptionLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)([eE][-+]?\d+)$"),
    list("-+0123456789."),
)


def parse_value(text: str) -> Any:
    """Value of an option given as text: a Python literal or a YAML value, never evaluated.

    What is neither, or no number, text, list or mapping, stays text.

    >>> parse_value("False"), parse_value("1e-3"), parse_value("[text, image]"), parse_value("add")
    (False, 0.001, ['text', 'image'], 'add')
    """
    for read in (ast.literal_eval, partial(yaml.load, Loader=OptionLoader)):
        try:
            value = read(text)
            json.dumps(value)
        except Exception:  # malformed text makes either parser raise nearly anything
            continue
        return value if text.strip() else text
    return text


def check_keys(given: Iterable[str], defaults: Mapping[str, Any], model: str) -> None:
    """Refuse options that neither this project nor RecBole has for the model.

    Args:
        given: names that the user set.
        defaults: all options that have a default for this model and data set.
        model: name of the model, for the message.

    Raises:
        UsageError: names the first unknown key and the nearest known one.
    """
    known = {"model", "dataset", *defaults}
    for arguments in ("general", "training", "evaluation", "dataset"):
        known.update(getattr(argument_list, f"{arguments}_arguments"))
    known -= {"MODEL_TYPE", "config_file"}
    for key in given:
        if key not in known:
            near = nearest(str(key), known | {"config_files"})
            raise UsageError(f"--{key}: {model} has no such option; {near}")


def check_values(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Refuse values of a wrong type, outside a range, or not among the choices.

    Args:
        values: the final value of each option.
        defaults: the default of each option; its type is the type that is asked for.

    Raises:
        UsageError: names the option, the value and what is allowed or nearest.
    """
    for key, value in values.items():
        _check_type(key, value, defaults.get(key))
        if key in CHOICES and value is not None:
            _check_choice(key, value, CHOICES[key])
        if key in RANGES and value is not None:
            low, high = RANGES[key]
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise UsageError(f"--{key}={value}: must be a number")
            if isinstance(low, int) and not isinstance(value, int):
                raise UsageError(f"--{key}={value}: must be a whole number")
            if not low <= value <= high:
                raise UsageError(f"--{key}={value}: must lie between {low:g} and {high:g}")
    _check_metrics(values)
    _check_eval_args(values["eval_args"] or {})
    _check_together(values)


def _check_type(key: str, value: Any, default: Any) -> None:
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise UsageError(f"--{key}={value}: must be True or False")
    elif isinstance(default, int | float):
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise UsageError(f"--{key}={value}: must be a number")
        if isinstance(value, str):
            raise UsageError(f"--{key}='{value}': must be a number, like the default {default}")
    elif isinstance(default, str) or (key in TEXTS and value is not None):
        if not isinstance(value, str) and key != "gpu_id":
            raise UsageError(f"--{key}={value}: must be text; write --{key}=\"'{value}'\"")
    elif (isinstance(default, dict) or key in MAPPINGS) and not isinstance(value, dict | None):
        like = f", like {default}" if default else ""
        raise UsageError(f"--{key}={value}: must be a mapping{like}")


def _check_choice(key: str, value: Any, choices: Iterable[str]) -> None:
    allowed = {choice.lower() for choice in choices}
    if str(value).lower() not in allowed or (
        key not in ("learner", "state") and value not in choices
    ):
        raise UsageError(f"--{key}={value}: not a value of it; {nearest(str(value), choices)}")


def _check_metrics(values: Mapping[str, Any]) -> None:
    metrics, topk = values["metrics"], values["topk"]
    metrics = [metrics] if isinstance(metrics, str) else metrics
    topk = topk if isinstance(topk, list) else [topk]
    if not isinstance(metrics, list) or not metrics:
        raise UsageError(f"--metrics={metrics}: must be a list of names, like [Recall, NDCG]")
    if not topk or any(type(k) is not int or not 1 <= k <= 10**6 for k in topk):
        raise UsageError(f"--topk={values['topk']}: must be whole numbers from 1 to 1000000")
    for metric in metrics:
        if str(metric).lower() not in METRICS + VALUE_METRICS:
            near = nearest(str(metric), METRICS + VALUE_METRICS)
            raise UsageError(f"--metrics: unknown '{metric}'; {near}")
    computed = [
        name
        for metric in metrics
        for name in (
            [metric] if metric.lower() in VALUE_METRICS else [f"{metric}@{k}" for k in topk]
        )
    ]
    if str(values["valid_metric"]).lower() not in [name.lower() for name in computed]:
        raise UsageError(
            f"--valid_metric={values['valid_metric']}: not computed with these metrics and topk; "
            + nearest(str(values["valid_metric"]), computed)
        )


def _check_eval_args(eval_args: Mapping[str, Any]) -> None:
    for key in eval_args:
        if key not in EVAL_ARGS:
            raise UsageError(f"--eval_args: unknown '{key}'; {nearest(str(key), EVAL_ARGS)}")
    mode = eval_args.get("mode", "full")
    for phase_mode in mode.values() if isinstance(mode, dict) else [mode]:
        if not re.fullmatch(r"full|labeled|(uni|pop)\d+", str(phase_mode)):
            raise UsageError(
                f"--eval_args: unknown mode '{phase_mode}'; choose from 'full', 'labeled', "
                "'uni100', 'pop100' or another number of sampled items"
            )


def _check_together(values: Mapping[str, Any]) -> None:
    for key in ("save_dataset", "save_dataloaders"):
        if values.get(key):
            raise UsageError(
                f"--{key}=True: RecBole's cache does not notice changed features; leave it False"
            )
    if values.get("log_wandb") and not find_spec("wandb"):
        raise UsageError("--log_wandb=True: wandb is not installed; `pip install wandb`")
    modalities = values.get("modalities")
    if "modalities" in values and not (
        isinstance(modalities, list)
        and modalities
        and all(re.fullmatch(r"[A-Za-z]\w*", str(name)) for name in modalities)
        and not any(hasattr(ModuleDict, name) for name in modalities)
        and len(set(modalities)) == len(modalities)
    ):
        raise UsageError(f"--modalities={modalities}: must be a list of names, like [text, image]")
    if {"n_heads", "hidden_size"} <= values.keys() and values["hidden_size"] % values["n_heads"]:
        raise UsageError(
            f"--n_heads={values['n_heads']}: must divide hidden_size {values['hidden_size']}"
        )
    one_stack = values.get("structure", "encoder_decoder") != "encoder_decoder"
    if one_stack and values["roles"] != "item_queries":
        raise UsageError(
            f"--roles={values['roles']}: only with --structure=encoder_decoder, "
            f"not {values['structure']}"
        )
