"""Checkpoints: tensors and plain values, loadable with ``weights_only=True``, written whole."""

import pickle
import random
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbole_missrec.errors import UsageError
from recbole_missrec.files import replacing

FORMAT = "recbole-missrec checkpoint 1"
# options that may be otherwise than they were: where things are, and how much is done at a time
_FREE = {"resume", "result_file", "per_user", "data_path", "eval_batch_size", "show_progress"}
_FREE |= {"state", "gpu_id", "use_gpu", "worker", "build_absent"}
LEAVES_TRAINING = frozenset(_FREE | {"epochs", "stopping_step"})  # a resumed run's figures
LEAVES_FIGURES = frozenset(_FREE | {"checkpoint_dir"})  # those of a run from its start
LEAVES_MODEL = LEAVES_FIGURES | {"metrics", "topk", "valid_metric", "mode"}


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
    with replacing(Path(path)) as temporary:
        try:
            torch.save({"format": FORMAT, **kept}, temporary)
        except RuntimeError as error:  # what PyTorch makes of a failed write
            raise OSError(f"is the disk full? {str(error).splitlines()[0]}") from error


def load_checkpoint(path: str | Path, device: str | torch.device = "cpu") -> dict[str, Any]:
    """Read a checkpoint. No code in it is run.

    Raises:
        UsageError: no such file, or not a checkpoint of this project.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip():  # torch.load does not check the sums
                raise zipfile.BadZipFile
        content = torch.load(path, map_location=device, weights_only=True)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (zipfile.BadZipFile, pickle.UnpicklingError, RuntimeError, ValueError) as error:
        raise UsageError(f"{path}: damaged, or not a checkpoint of recbole-missrec") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UsageError(f"{path}: not a checkpoint of recbole-missrec ({FORMAT})")
    return content


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
        UsageError: the checkpoint is of other data, or of a model of other options.
    """
    if state["data"] != data:
        raise UsageError(f"{path}: trained on other items, interactions or features")
    try:
        model.load_state_dict(state["state_dict"])
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise UsageError(f"{path}: of a model of other options: {reason}") from error
    model.load_other_parameter(state.get("other_parameter"))


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
