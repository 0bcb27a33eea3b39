"""Rules for values within options, and for options that do not go together."""

import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from torch.nn import ModuleDict

from recbole_missrec.errors import UsageError, nearest

BUILDER = "python -m dataset_builders "
# what stands beside the modalities of an item in scores and exports
TAKEN = {"alpha", "history", "id", "interests", "item", "mean", "offered", "row", "slots", "tokens"}
TAKEN |= {"lacking", "unseen"}
INTERVALS = ("user_inter_num_interval", "item_inter_num_interval")
_BOUND = r"\s*-?(inf|\d+(\.\d+)?)\s*"
INTERVAL = re.compile(rf"[\[(]{_BOUND},{_BOUND}[\])](;[\[(]{_BOUND},{_BOUND}[\])])*")


def check_inner(values: Mapping[str, Any]) -> None:
    """Values within mappings and texts, which RecBole would misread without a word.

    Raises:
        UsageError: names the option and what is allowed.
    """
    for key in INTERVALS:
        _check_interval(f"--{key}", values[key])
    for field, interval in (values["val_interval"] or {}).items():
        if not isinstance(interval, list):  # of a field of tokens
            _check_interval(f"--val_interval: {field}", interval)
    for field, length in (values["seq_len"] or {}).items():
        if type(length) is not int or length < 1:
            raise UsageError(f"--seq_len: {field}: {length} must be a whole number above 0")
    for key, bound in (values["clip_grad_norm"] or {}).items():
        if key not in ("max_norm", "norm_type"):
            near = nearest(str(key), ["max_norm", "norm_type"])
            raise UsageError(f"--clip_grad_norm: unknown '{key}'; {near}")
        if type(bound) not in (int, float) or not bound > 0:
            raise UsageError(f"--clip_grad_norm: {key}: {bound} must be a number above 0")
    for file, columns in (values["load_col"] or {}).items():
        if not isinstance(columns, list | None) and columns != "*":
            raise UsageError(f"--load_col: {file}: {columns} must be a list of columns, or '*'")


def _check_interval(name: str, interval: Any) -> None:
    if interval is not None and not INTERVAL.fullmatch(str(interval)):
        raise UsageError(f"{name}: '{interval}' is no interval; write one like '[5,inf)'")


def check_together(values: Mapping[str, Any]) -> None:
    """Values that ask for each other, or for what is not installed.

    Raises:
        UsageError: names the option and what it needs.
    """
    for key in ("save_dataset", "save_dataloaders"):
        if values.get(key):
            raise UsageError(
                f"--{key}=True: RecBole's cache does not notice changed features; leave it False"
            )
    for key in ("dataset_save_path", "dataloaders_save_path"):
        if values.get(key):
            raise UsageError(f"--{key}={values[key]}: a pickle, whose code would run; leave it out")
    if values.get("log_wandb") and not find_spec("wandb"):
        raise UsageError("--log_wandb=True: wandb is not installed; `pip install wandb`")
    if values["result_file"] and values["result_file"] == values["per_user"]:
        raise UsageError(f"--per_user={values['per_user']}: is the result_file; name another file")
    if values["build"] and not values["build"].startswith(BUILDER):
        raise UsageError(f"--build={values['build']}: must begin with `{BUILDER.strip()}`")
    method = values.get("interest_method")
    if method == "dpc_knn_ivf" and not find_spec("faiss"):
        raise UsageError(f"--interest_method={method}: needs faiss; `pip install faiss-cpu`")
    if values.get("interest_warm_start") and method not in ("kmeans", "auto"):
        raise UsageError(f"--interest_warm_start=True: only for kmeans or auto, not {method}")
    if values.get("interest_gradient") and values["interest_moved"]:
        raise UsageError(
            f"--interest_moved={values['interest_moved']}: not with --interest_gradient=True, "
            "whose interests move with the tokens; use --interest_every"
        )
    if values.get("modality_dropout_of") is not None and values["worker"]:
        raise UsageError(
            f"--worker={values['worker']}: this model's batches are laid out, and drawn from, in "
            "the training process itself; use 0"
        )
    if not isinstance(values.get("map_features"), bool | None):
        raise UsageError(f"--map_features={values['map_features']}: must be True or False")
    if values.get("calibrate") and values["missing"] != "mask":
        raise UsageError(
            f"--calibrate=True: with --missing={values['missing']} no candidate lacks a modality; "
            "only for mask"
        )
    if values.get("missing") == "token" and "structure" not in values:
        raise UsageError("--missing=token: only for MISSRec; nearest: mask")
    modalities = values.get("modalities")
    if modalities is not None and not (
        isinstance(modalities, list)
        and modalities
        and all(re.fullmatch(r"[A-Za-z]\w*", str(name)) for name in modalities)
        and not any(hasattr(ModuleDict, name) for name in modalities)
        and len(set(modalities)) == len(modalities)
    ):
        raise UsageError(f"--modalities={modalities}: must be a list of names, like [text, image]")
    check_names(modalities or [])
    check_rates(values)
    if {"n_heads", "hidden_size"} <= values.keys() and values["hidden_size"] % values["n_heads"]:
        raise UsageError(
            f"--n_heads={values['n_heads']}: must divide hidden_size {values['hidden_size']}"
        )
    _check_transfer(values)
    if values.get("roles", "item_queries") != "item_queries" and (
        values["structure"] != "encoder_decoder"
    ):
        raise UsageError(
            f"--roles={values['roles']}: only with --structure=encoder_decoder, "
            f"not {values['structure']}"
        )


def check_names(modalities: Sequence[str]) -> None:
    """Names of modalities, given or found.

    Raises:
        UsageError: one is of another part of an item.
    """
    for name in modalities:
        if name in TAKEN:
            raise UsageError(f"--modalities={modalities}: no modality may be called '{name}'")


def check_rates(values: Mapping[str, Any]) -> None:
    """Rates of ``modality_dropout``: one for all modalities, or one for each that is named.

    Raises:
        UsageError: one is no rate, or of no modality, where it is known which there are.
    """
    given = values.get("modality_dropout", 0.0)
    rates = given if isinstance(given, dict) else {"": given}
    for name, rate in rates.items():
        if name and name not in (values["modalities"] or [name]):
            near = nearest(str(name), values["modalities"])
            raise UsageError(f"--modality_dropout={given}: no modality '{name}'; {near}")
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate < 1:
            raise UsageError(
                f"--modality_dropout={given}: rates must be numbers from 0 to below 1, like 0.2 or "
                "{text: 0.3}"
            )


def _check_transfer(values: Mapping[str, Any]) -> None:
    """What a pre-training gives away, and what starts from one."""
    if values.get("softmax") == "in_batch" and values["item_mm_fusion"] == "dynamic_instance":
        raise UsageError(
            "--item_mm_fusion=dynamic_instance: a pre-training has nothing to give to other items "
            "so; use dynamic_shared"
        )
    if values.get("softmax") == "in_batch" and values["train_batch_size"] < 2:
        raise UsageError(
            "--train_batch_size=1: with --softmax=in_batch the other rows of a batch are the "
            "negatives; give more, like 512"
        )
    if "fresh_adapters" in values and not isinstance(values["fresh_adapters"], list):
        raise UsageError(
            f"--fresh_adapters={values['fresh_adapters']}: must be a list of names, like [image]"
        )
    if values.get("fresh_adapters") and not values["pretrained"]:
        raise UsageError("--fresh_adapters: all adapters are fresh without --pretrained=FILE")
    if values.get("fresh_adapters") and values.get("tune") == "none":
        raise UsageError("--tune=none: fresh adapters would stay random; add --tune=adapters")
    if values.get("tune") == "lora" and not find_spec("peft"):
        raise UsageError("--tune=lora: needs peft; `pip install peft`")
    if values.get("tune") == "none" and not values["pretrained"]:
        raise UsageError("--tune=none: there is nothing to evaluate without --pretrained=FILE")
    if values.get("tune") == "none" and values["item_ids"]:
        raise UsageError("--tune=none: item ids would stay random; add --item_ids=False")
