"""The one place where option names and values are checked; defaults stand in ``props/``."""

import ast
import json
import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import yaml
from recbole.utils import argument_list

from recbole_missrec.data.completion import COMPLETIONS
from recbole_missrec.errors import UsageError, nearest
from recbole_missrec.option_rules import check_inner, check_together
from recbole_missrec.protocol import check_protocol

# of a model whose default is among them: an option of another model may have the same name
CHOICES: dict[str, tuple[str, ...]] = {
    "learner": ("adam", "adamw", "sgd", "adagrad", "rmsprop"),
    "state": ("debug", "info", "warning", "error", "critical"),
    "loss_type": ("CE", "BPR"),
    "roles": ("item_queries", "interest_queries"),
    "structure": ("encoder_decoder", "no_decoder", "no_interests"),
    "seq_mm_fusion": ("add", "contextual"),
    "item_mm_fusion": (
        *("static", "dynamic_shared", "dynamic_instance"),
        *("dynamic_shrunk", "gate"),
    ),
    "interest_method": (
        "dpc_knn",
        "dpc_knn_ivf",
        "kmeans",
        "auto",
        "random",
        "single",
        "items",
    ),
    "interest_space": ("tokens", "modality", "features"),
    "orthogonality": ("mean_cosine", "released"),
    "missing": ("mask", *COMPLETIONS, "token"),
    "modality_dropout_of": ("both", "sequences", "items"),
    "softmax": ("full", "sampled", "in_batch"),
    "tune": ("full", "adapters", "bias", "lora", "none", "all_but_adapters"),
    "hidden_act": ("gelu", "relu", "swish", "tanh", "sigmoid"),
    "teacher": ("CrossNet", "CIN"),  # of KD_DAGFM, which evaluates the text
}
# lowest and highest value allowed, both included; a whole number where the bounds are whole
RANGES: dict[str, tuple[float, float]] = {
    "epochs": (0, 10**6),
    "train_batch_size": (1, 10**9),
    "eval_batch_size": (1, 10**12),
    "learning_rate": (0.0, 10.0),
    "weight_decay": (0.0, 10.0),
    "train_share": (1e-9, 1.0),
    "ema_decay": (0.0, 0.99999),
    "stopping_step": (0, 10**6),
    "eval_step": (0, 10**6),
    "loss_decimal_place": (0, 100),
    "metric_decimal_place": (0, 100),
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
    "n_experts": (1, 1024),
    "adaptor_dropout_prob": (0.0, 0.99),
    "code_groups": (1, 1024),
    "code_bits": (1, 16),
    "gamma": (0.0, 1e6),
    "id_weight": (0.0, 1e6),
    "unseen_bias": (0.0, 2.0),
    "softmax_samples": (1, 10**7),
    "sequence_contrast": (0.0, 1e6),
    "interest_ratio": (1e-9, 1.0),
    "knn_local_ratio": (1e-9, 1.0),
    "knn_neighbours": (1, 10**6),
    "interest_sample": (1, 10**9),
    "interest_every": (1, 10**6),
    "interest_moved": (0.0, 1e6),
    "max_train_prefixes": (1, 10**9),
    "max_eval_users": (1, 10**9),
    "lora_rank": (1, 1024),
    "MAX_ITEM_LIST_LENGTH": (1, 10**6),
    "seed": (0, 2**31 - 1),
    "mask_ratio": (0.0, 1.0),
    "k": (1, 10**6),
    "shrink": (0.0, 1e9),
}
# options that are off by default, which therefore does not show their type
TEXTS = ("result_file", "per_user", "resume", "build", "pretrained")
MAPPINGS = ("clip_grad_norm", "seq_len", "threshold", "val_interval")
OPTIONAL = ("max_train_prefixes", "max_eval_users", "knn_neighbours")  # None turns them off


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
        choices, default = CHOICES.get(key, ()), defaults.get(key)
        ours = default in choices or str(default).lower() in choices
        if ours and _as_compared(key, value) not in choices:
            raise UsageError(f"--{key}={value}: not a value of it; {nearest(str(value), choices)}")
        if key in RANGES and value is not None:
            low, high = RANGES[key]
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise UsageError(f"--{key}={value}: must be a number")
            if isinstance(low, int) and not isinstance(value, int):
                raise UsageError(f"--{key}={value}: must be a whole number")
            if not low <= value <= high:
                raise UsageError(f"--{key}={value}: must lie between {low:g} and {high:g}")
    check_protocol(values)
    check_inner(values)
    check_together(values)


def _check_type(key: str, value: Any, default: Any) -> None:
    if (value is None and key in OPTIONAL) or key == "modality_dropout":  # see _check_rates
        return
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
        if default and value == "" and key != "gpu_id":
            raise UsageError(f"--{key}=: is empty; the default is '{default}'")
    elif (isinstance(default, dict) or key in MAPPINGS) and not isinstance(value, dict | None):
        like = f", like {default}" if default else ""
        raise UsageError(f"--{key}={value}: must be a mapping{like}")


def _as_compared(key: str, value: Any) -> Any:
    return str(value).lower() if key in ("learner", "state") else value  # RecBole ignores case
