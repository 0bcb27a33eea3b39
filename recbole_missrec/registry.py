"""Which class a name means: this project's own first, RecBole's as the fallback."""

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import recbole
import torch
from recbole.utils import get_model as recbole_get_model
from recbole.utils import get_trainer as recbole_get_trainer

from recbole_missrec.errors import UsageError, nearest

OWN_MODELS = {
    "MISSRec": "recbole_missrec.model.missrec",
    "UniSRec": "recbole_missrec.model.unisrec",
    "VQRec": "recbole_missrec.model.vqrec",
    "SASRecContent": "recbole_missrec.model.sasrec_content",
    "LastItem": "recbole_missrec.model.last_item",
}
# Models of RecBole that do not compute what they say: they keep its data sets and options.
CORRECTED = {"Pop": "recbole_missrec.model.pop"}


def known_models() -> list[str]:
    """Names of all models that can be asked for, this project's and RecBole's."""
    properties = Path(recbole.__file__).parent / "properties" / "model"
    return [*OWN_MODELS, *(path.stem for path in properties.glob("*.yaml"))]


def module_of(name: str) -> str | None:
    """Module of this project that defines a model; None if RecBole's own is used."""
    return (OWN_MODELS | CORRECTED).get(name)


def get_model(name: str) -> Any:
    """Model class of a name.

    Raises:
        UsageError: no such model, or it needs a package that is not installed.
    """
    if name not in known_models():
        raise UsageError(f"--model={name}: no such model; {nearest(name, known_models())}")
    try:
        module = module_of(name)
        if module is not None:
            return getattr(importlib.import_module(module), name)
        model = recbole_get_model(name)
    except ImportError as error:
        raise missing_package(name, error) from error
    torch.autograd.set_detect_anomaly(False)  # RecBole's sine.py turns it on for every model
    return model


def missing_package(model: str, error: ImportError) -> UsageError:
    """What to say where a model imports a package, now or in training, that is not there."""
    package = {"faiss": "faiss-cpu"}.get(str(error.name), error.name)
    return UsageError(
        f"--model={model}: needs the package '{error.name}'; "
        f"install it with `pip install {package}`"
    )


def get_dataset_class(config: Any) -> type:
    """Data set class for a model: multi-modal for this project's own, RecBole's for its own."""
    from recbole_missrec.data.dataset import MultiModalSequentialDataset
    from recbole_missrec.data.rows import prepared_by_arrays

    if config["model"] in OWN_MODELS:
        return prepared_by_arrays(MultiModalSequentialDataset)
    datasets = importlib.import_module("recbole.data.dataset")
    by_type = {"SEQUENTIAL": "SequentialDataset", "KNOWLEDGE": "KnowledgeBasedDataset"}
    default = by_type.get(config["MODEL_TYPE"].name, "Dataset")
    dataset_class = getattr(datasets, f"{config['model']}Dataset", getattr(datasets, default))
    return prepared_by_arrays(dataset_class)


def get_trainer(config: Any) -> type:
    """Trainer class for a model: RecBole's choice, with this project's hooks on top of it."""
    from recbole_missrec.trainer.trainer import HookedTrainer

    base = recbole_get_trainer(config["MODEL_TYPE"], config["model"])
    return type(f"Hooked{base.__name__}", (HookedTrainer, base), {})
