"""What of a pre-trained model goes into a model of another catalogue, and what never does."""

from collections.abc import Collection, Iterator, Mapping
from logging import getLogger
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from recbole_missrec.errors import UsageError, nearest
from recbole_missrec.trainer.checkpoint import load_checkpoint
from recbole_missrec.trainer.lora import without_lora

if TYPE_CHECKING:
    from recbole_missrec.model.missrec import MISSRec

# options by which the same weights compute something else, or have other shapes
ARCHITECTURE = (
    *("structure", "roles", "hidden_size", "n_heads", "n_encoder_layers", "n_decoder_layers"),
    *("inner_size", "layer_norm_eps", "seq_mm_fusion", "standardise_features"),
    "interest_recency",
)
OF_A_CATALOGUE = (
    *("interest_ids", "centroids", "item_embedding.weight", "unseen"),
    *("fusion.own", "fusion.trust"),
)
POSITIONS, ALPHA = "position_embedding.weight", "fusion.alpha"
# a row for each
OF_MODALITIES = ("fusion.gate", "fusion.gate_bias", "fusion.lacking", "missing_token")
OPTIONAL = (ALPHA, *OF_MODALITIES, "history_bias.weight")  # of options in which the two may differ


class Transfer(NamedTuple):
    """What to load.

    Attributes:
        state: tensors by their names in the model; others of the model stay as they are.
        notes: what did not fit as it was, a line each.
    """

    state: dict[str, Tensor]
    notes: list[str]


def start_from(path: str, model: "MISSRec", encoders: Mapping[str, str]) -> None:
    """Give a model what it takes of a pre-trained one, and log what did not fit as it was.

    Args:
        path: of the checkpoint.
        model: of the new catalogue, just initialised.
        encoders: modality -> name of the encoder of the new catalogue's features.

    Raises:
        UsageError: no checkpoint, or one that does not fit.
    """
    options = model.options
    how = options["fresh_adapters"], options["other_encoders"]
    checkpoint = load_checkpoint(path, of_data=False)
    transfer = transfer_state(path, checkpoint, model, encoders, *how)
    _check_untrained(options, checkpoint["state_dict"])
    model.load_state_dict(transfer.state, strict=False)
    for note in transfer.notes:
        getLogger().info(f"{path}: {note}")


def transfer_state(
    path: str,
    checkpoint: Mapping[str, Any],
    model: "MISSRec",
    encoders: Mapping[str, str],
    fresh_adapters: Collection[str] = (),
    other_encoders: bool = False,
) -> Transfer:
    """Choose what of a checkpoint a model of another catalogue starts from (MISSRec, section 3.5).

    Interest ids, centroids, the id table and which items were never read belong to a catalogue and
    stay behind; so would alphas of items, which start from a shared one. LoRA travels as part of
    the weights that it is beside.

    Args:
        path: of the checkpoint, for messages.
        checkpoint: what ``load_checkpoint`` gave.
        model: of the new catalogue, just initialised.
        encoders: modality -> name of the encoder of the new catalogue's features.
        fresh_adapters: modalities whose adapters start anew.
        other_encoders: let features be of other encoders than the checkpoint's.

    Returns:
        The tensors; loaded with ``strict=False`` they leave out what stays as it is.

    Raises:
        UsageError: lists all that does not fit.
    """
    if "optimizer" in checkpoint:
        raise UsageError(f"--pretrained={path}: of an unfinished run; go on with --resume={path}")
    if checkpoint["model"] != "MISSRec":
        raise UsageError(f"--pretrained={path}: of {checkpoint['model']}, not of MISSRec")
    for modality in fresh_adapters:
        if modality not in model.modalities:
            known = nearest(modality, model.modalities)
            raise UsageError(f"--fresh_adapters: no modality {modality}; {known}")
    config, weights = checkpoint["config"], without_lora(checkpoint["state_dict"])
    if ALPHA in weights and weights[ALPHA].dim():
        raise UsageError(
            f"--pretrained={path}: its item_mm_fusion is dynamic_instance, whose alphas belong to "
            "its items; pre-train with dynamic_shared"
        )
    carried = [modality for modality in model.modalities if modality not in fresh_adapters]
    state = {name: value for name, value in weights.items() if not _stays_behind(name, carried)}
    notes: list[str] = []
    for modality in config["modalities"]:
        if modality not in model.modalities:
            notes.append(f"{modality}: its adapter is left out, the model does not read it")
    faults = list(_options(config, model))
    faults += _modalities(checkpoint, carried, encoders, other_encoders, notes)
    target = model.state_dict()
    if not faults:  # else nearly all shapes differ
        _fit_positions(state, target[POSITIONS], notes)
        _fit_optional(state, target, notes)
        there = list(config["modalities"])
        rows = {model.modalities.index(modality): there.index(modality) for modality in carried}
        _fit_modalities(state, target, rows, len(there))
        faults += _tensors(state, target, fresh_adapters)
    if faults:
        raise UsageError(f"--pretrained={path}: does not fit this model: {'; '.join(faults)}")
    return Transfer(state, notes)


def _check_untrained(options: Any, weights: Mapping[str, Tensor]) -> None:
    """Refuse, or say, what stays as it was drawn because the way of tuning does not train it."""
    tune, longest = options["tune"], options["MAX_ITEM_LIST_LENGTH"]
    trained = len(weights[POSITIONS])
    if tune == "none" and options["missing"] == "token" and "missing_token" not in weights:
        raise UsageError("--tune=none: the tokens of --missing=token would stay random; use mask")
    if tune not in ("full", "all_but_adapters") and longest > trained:
        getLogger().warning(
            f"--MAX_ITEM_LIST_LENGTH={longest}: positions beyond the {trained} of the checkpoint "
            f"stay random with --tune={tune}; give {trained}, or --tune=full"
        )


def _stays_behind(name: str, carried: Collection[str]) -> bool:
    part, _, rest = name.partition(".")
    return name in OF_A_CATALOGUE or (part == "adapters" and rest.split(".")[0] not in carried)


def _options(config: Mapping[str, Any], model: "MISSRec") -> Iterator[str]:
    for key in ARCHITECTURE:
        there, here = config.get(key, False), model.options[key]  # of before there was the option
        if there != here:
            yield f"{key} is {there} there, {here} here"


def _modalities(
    checkpoint: Mapping[str, Any],
    carried: Collection[str],
    encoders: Mapping[str, str],
    other_encoders: bool,
    notes: list[str],
) -> Iterator[str]:
    known = checkpoint["data"].get("encoders", {})
    for modality in carried:
        if modality not in checkpoint["config"]["modalities"]:
            yield f"it has no adapter of {modality} ({_anew(modality)})"
        elif modality not in known:
            notes.append(f"{modality}: which encoder it was trained with is not known")
        elif known[modality] != encoders[modality]:
            differ = f"{modality} is of {known[modality]} there, of {encoders[modality]} here"
            if other_encoders:
                notes.append(differ)
            else:
                yield f"{differ} ({_anew(modality)}, --other_encoders=True keeps it)"


def _anew(modality: str) -> str:
    return f"--fresh_adapters=[{modality}] starts it anew"


def _fit_positions(state: dict[str, Tensor], here: Tensor, notes: list[str]) -> None:
    """Keep trained positions; those beyond stay as they are initialised, or are cut off."""
    there = state.get(POSITIONS)
    if there is None or there.shape[1:] != here.shape[1:] or len(there) == len(here):
        return
    kept = min(len(there), len(here))
    state[POSITIONS] = torch.cat([there[:kept].to(here), here[kept:]])
    fate = "start untrained" if kept < len(here) else "are left out"
    notes.append(f"positions: {kept} trained ones are kept, those beyond {fate}")


def _fit_optional(state: dict[str, Tensor], target: Mapping[str, Tensor], notes: list[str]) -> None:
    for name in OPTIONAL:
        if name in state and name not in target:
            del state[name]
            notes.append(f"{name}: left out, the model has none")
        elif name in target and name not in state:
            notes.append(f"{name}: starts untrained, the checkpoint has none")
    if ALPHA in state:
        state[ALPHA] = state[ALPHA].expand_as(target[ALPHA])


def _fit_modalities(
    state: dict[str, Tensor], target: Mapping[str, Tensor], rows: Mapping[int, int], number: int
) -> None:
    """Put the row of each modality that travels where the model has it; others stay initial."""
    for name in OF_MODALITIES:
        if name in state and len(state[name]) == number:
            fitted = target[name].clone()
            if fitted.shape[1:] == state[name].shape[1:]:
                fitted[list(rows)] = state[name][list(rows.values())].to(fitted)
                state[name] = fitted


def _tensors(
    state: Mapping[str, Tensor], target: Mapping[str, Tensor], fresh_adapters: Collection[str]
) -> Iterator[str]:
    fresh = tuple(f"adapters.{modality}." for modality in fresh_adapters)
    for name in sorted(state.keys() | target.keys()):
        if name not in target:
            yield f"{name} is not of this model"
        elif name not in state:
            if name not in (*OF_A_CATALOGUE, *OPTIONAL) and not name.startswith(fresh):
                yield f"{name} is missing"
        elif state[name].shape != target[name].shape:
            there, here = list(state[name].shape), list(target[name].shape)
            part, _, rest = name.partition(".")
            anew = f" ({_anew(rest.split('.')[0])})" if part == "adapters" else ""
            yield f"{name} is {there} there, {here} here{anew}"
