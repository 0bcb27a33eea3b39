"""Checkpoints: tensors and plain values, loadable with ``weights_only=True``, written whole."""

import json
import random
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbole_missrec.errors import UsageError
from recbole_missrec.files import replacing, write_json

FORMAT = "recbole-missrec checkpoint 1"
CARD = "recbole-missrec model card 1"
# options that may be otherwise than they were: where things are, and how much is done at a time
_FREE = {"resume", "result_file", "per_user", "data_path", "eval_batch_size", "show_progress"}
_FREE |= {"state", "gpu_id", "use_gpu", "worker", "build_absent", "checkpoint_dir", "save_last"}
LEAVES_TRAINING = frozenset(_FREE | {"epochs", "stopping_step"})  # a resumed run's figures
LEAVES_FIGURES = frozenset(_FREE)  # those of a run from its start
LEAVES_MODEL = LEAVES_FIGURES | {"metrics", "topk", "valid_metric", "mode", "unseen_bias"}
# MISSRec's options that are younger than some checkpoints, as these were trained
IMPLIED: dict[str, Any] = {"unseen_negatives": True, "unseen_bias": 0.0}
# what a file holds, with its type
OF_A_MODEL = {"model": str, "dataset": str, "config": dict, "data": dict, "state_dict": dict}
OF_A_TRAINED_MODEL = {"epoch": int}
OF_A_RUN = {
    **{"epoch": int, "best_epoch": int, "cur_step": int, "best_valid_score": float},
    **{"best_valid_result": dict, "curve": list, "optimizer": dict, "random": list},
    **{"counters": dict, "shuffle": torch.Tensor, "discoveries": list},
}


def save_checkpoint(path: str | Path, content: dict[str, Any]) -> None:
    """Write a checkpoint.

    Args:
        path: the file.
        content: tensors and plain values by name; other values of models not of this project
            (sparse matrices, whole layers) are left out.

    Raises:
        UsageError: the file cannot be written.
    """
    kept = {key: value for key, value in content.items() if is_plain(value)}
    with replacing(Path(path), RuntimeError) as temporary:
        torch.save({"format": FORMAT, **kept}, temporary)


def write_card(checkpoint: str | Path, content: dict[str, Any]) -> None:
    """Write the model card beside a checkpoint, as JSON.

    Raises:
        UsageError: it cannot be written.
    """
    write_json(Path(checkpoint).with_suffix(".json"), {"format": CARD, **content})


def load_checkpoint(
    path: str | Path,
    device: str | torch.device = "cpu",
    fields: Mapping[str, type] = OF_A_MODEL,
    of_data: bool = True,
) -> dict[str, Any]:
    """Read a checkpoint. No code in it is run.

    Args:
        path: the file.
        device: where its tensors are wanted.
        fields: what it must hold, see ``check_fields``.
        of_data: refuse weights of no data set, as ``convert`` writes them.

    Raises:
        UsageError: no such file, or not a checkpoint of this project, or not of a data set.
    """
    try:
        open(path, "rb").close()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        with zipfile.ZipFile(path) as archive:
            packed = any(entry.compress_type for entry in archive.infolist())  # torch packs nothing
            if packed or archive.testzip():  # torch.load does not check the sums
                raise zipfile.BadZipFile
        content = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # a damaged pickle makes the unpickler raise nearly anything
        raise UsageError(f"{path}: damaged, or not a checkpoint of recbole-missrec") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UsageError(f"{path}: not a checkpoint of recbole-missrec ({FORMAT})")
    check_fields(path, content, fields)
    check_json(path, content, ("config", "curve", "discoveries"))
    if of_data and content.get("data") == {}:
        raise UsageError(f"{path}: has weights of no data set; tune them by --pretrained={path}")
    return content


def stored_options(content: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a checkpoint, those that came later as they were without a name."""
    return (IMPLIED if content["model"] == "MISSRec" else {}) | content["config"]


def check_fields(path: str | Path, content: Mapping[str, Any], fields: Mapping[str, type]) -> None:
    """See that a file of this project's format holds what is read of it.

    Args:
        path: of the file, for the message.
        content: of the file.
        fields: name -> type.

    Raises:
        UsageError: names the first field that is missing or of another type.
    """
    for name, kind in fields.items():
        if name not in content:
            raise UsageError(f"{path}: damaged: it has no {name}")
        if not isinstance(content[name], kind):
            found = type(content[name]).__name__
            raise UsageError(f"{path}: damaged: its {name} is {found}, not {kind.__name__}")


def check_json(path: str | Path, content: Mapping[str, Any], names: Collection[str]) -> None:
    """See that values are of numbers and text alone, so that a result can hold them.

    Raises:
        UsageError: names one that is not.
    """
    for name in names:
        try:
            json.dumps(content.get(name))
        except (TypeError, ValueError) as error:
            raise UsageError(f"{path}: damaged: its {name} is not of numbers and text") from error


def load_weights(
    path: str | Path, state: Mapping[str, Any], model: Any, data: Mapping[str, Any]
) -> None:
    """Give a model the weights of a checkpoint.

    Args:
        path: of the checkpoint, for messages.
        state: its content.
        model: of the same options.
        data: identity of the data set that is there now.

    Raises:
        UsageError: the checkpoint is of other data, of a model of other options, or damaged.
    """
    if state["data"] != data:
        raise UsageError(f"{path}: trained on other items, interactions or features")
    check_fields(path, state["state_dict"], dict.fromkeys(state["state_dict"], torch.Tensor))
    try:
        model.load_state_dict(state["state_dict"])
    except (AttributeError, RuntimeError) as error:  # a name that is no text; of other shapes
        reason = str(error).splitlines()[-1].strip()
        raise UsageError(f"{path}: of a model of other options: {reason}") from error
    ids = getattr(model, "interest_ids", None)
    if ids is not None and not 0 <= ids.min() <= ids.max() < len(model.centroids):
        raise UsageError(f"{path}: damaged: interest_ids without a centroid")
    others, own = state.get("other_parameter"), model.other_parameter() or {}
    others = {} if others is None else others
    if not isinstance(others, dict) or others.keys() - own.keys():
        # RecBole would set any attribute
        raise UsageError(f"{path}: damaged: other_parameter is not of {type(model).__name__}")
    check_json(path, others, ("health",))
    model.load_other_parameter(others)


def check_unchanged(
    stored: Mapping[str, Any], given: Mapping[str, Any], free: Collection[str]
) -> None:
    """See that the options of a checkpoint are kept where they decide what it holds.

    Args:
        stored: options of the checkpoint.
        given: options now.
        free: those that may differ; ``mode``: that in ``eval_args``, which splits nothing.

    Raises:
        UsageError: names the first that differs.
    """
    for key in sorted(stored.keys() - free):
        now, then = given.get(key), stored[key]
        if key == "eval_args" and "mode" in free:
            now, then = ({**args, "mode": None} for args in (given[key], then))
        if now != then:
            raise UsageError(
                f"--{key}={given.get(key)}: the checkpoint keeps its own; leave it out"
            )


def is_plain(value: Any) -> bool:
    """Whether a value is made of dense tensors, numbers, text and containers of these."""
    if isinstance(value, torch.Tensor):
        return value.layout == torch.strided
    if isinstance(value, dict):
        return all(is_plain(part) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple):
        return all(is_plain(part) for part in value)
    return type(value) in (str, int, float, bool, type(None))


def random_state() -> dict[str, Any]:
    """State of all generators that training draws from, as plain values."""
    kind, keys, *rest = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": [kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all(),
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Restore what ``random_state`` gave."""
    random.setstate(state["python"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.cpu().numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"].cpu())
    torch.cuda.set_rng_state_all([generator.cpu() for generator in state["cuda"]])
