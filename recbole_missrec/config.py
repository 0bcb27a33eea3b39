"""RecBole's Config with this project's props; every key and value is checked once, here."""

import copy
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from recbole.config import Config as RecBoleConfig
from recbole.utils import ModelType

from recbole_missrec import processes
from recbole_missrec.errors import UsageError
from recbole_missrec.options import OptionLoader, check_keys, check_values, parse_value
from recbole_missrec.paths import props_dir
from recbole_missrec.registry import OWN_MODELS, get_model


class Config(RecBoleConfig):
    """RecBole's configuration with its precedence, plus the props files of this project.

    Later ones win: RecBole's overall, model and data set files; ``props/overall.yaml``,
    ``props/model/MODEL.yaml``, ``props/dataset/DATASET.yaml``,
    ``props/model_dataset/MODEL-DATASET.yaml``; then the user's files, ``config_dict`` and
    ``command_line``. Unlike RecBole, ``sys.argv`` is not read and strings are never evaluated.

    Args:
        model: name of a model, of this project or of RecBole; else that in the files, or MISSRec.
        dataset: name of a data set, a folder under ``data_path``; else that in the files.
        config_files: YAML files of the user, later ones win.
        config_dict: options by name.
        command_line: options by name, values as text.

    Raises:
        UsageError: an unknown key or value, an unreadable file, an unknown model.
    """

    def __init__(
        self,
        model: str | None,
        dataset: str | None,
        config_files: Sequence[str] = (),
        config_dict: Mapping[str, Any] | None = None,
        command_line: Mapping[str, str] | None = None,
    ) -> None:
        self._command_line = {
            key: parse_value(value) for key, value in (command_line or {}).items()
        }
        try:
            super().__init__(model, dataset, list(config_files), dict(config_dict or {}))
        except (ValueError, TypeError, NotImplementedError, RuntimeError) as error:
            raise UsageError(f"RecBole refuses the options: {error}") from error

    def _build_yaml_loader(self) -> type[yaml.SafeLoader]:
        return OptionLoader

    def _convert_config_dict(self, config_dict: dict[str, Any]) -> dict[str, Any]:
        return config_dict

    def _load_cmd_line(self) -> dict[str, Any]:
        return self._command_line

    def _load_config_files(self, file_list: list[str]) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for file in file_list:
            try:
                content = yaml.load(Path(file).read_text(encoding="utf-8"), Loader=OptionLoader)
            except OSError as error:
                raise UsageError(f"--config_files: cannot read {file}: {error.strerror}") from error
            except (yaml.YAMLError, ValueError) as error:
                reason = " ".join(str(error).split())
                raise UsageError(f"--config_files: {file} is not YAML: {reason}") from error
            if not isinstance(content, dict | None):
                raise UsageError(f"--config_files: {file} must hold `key: value` lines")
            merged.update(content or {})
        return merged

    def _get_model_and_dataset(
        self, model: str | None, dataset: str | None
    ) -> tuple[str, type, str]:
        given = self.external_config_dict
        model = str(given.get("model", "MISSRec") if model is None else model)
        dataset = given.get("dataset") if dataset is None else dataset
        if not dataset:
            raise UsageError(
                "--dataset=NAME is missing; `python -m dataset_builders sample` makes one"
            )
        return model, get_model(model), str(dataset)

    def _load_internal_config_dict(self, model: str, model_class: type, dataset: str) -> None:
        super()._load_internal_config_dict(model, model_class, dataset)
        for file in (
            "overall",
            f"model/{model}",
            f"dataset/{dataset}",
            f"model_dataset/{model}-{dataset}",
        ):
            path = props_dir() / f"{file}.yaml"
            if path.is_file():
                self._update_internal_config_dict(path)

    def _get_final_config_dict(self) -> dict[str, Any]:
        external, internal = self.external_config_dict, self.internal_config_dict
        check_keys(external, internal, self.model)
        if internal["MODEL_TYPE"] in (ModelType.CONTEXT, ModelType.DECISIONTREE):
            # RecBole has them read labels; ranked like the others they learn like them, too
            internal["train_neg_sample_args"] = {"distribution": "uniform", "sample_num": 1}
        final = super()._get_final_config_dict()
        sampled = external.get("train_neg_sample_args") is not None
        sequential = internal["MODEL_TYPE"] == ModelType.SEQUENTIAL
        if sequential and not sampled and final.get("loss_type") == "CE":
            final["train_neg_sample_args"] = None  # cross-entropy is over all items
        check_values(final, internal)
        if sampled and self.model in OWN_MODELS:
            raise UsageError("--train_neg_sample_args: the loss is over all items; leave it out")
        final["eval_args"] = internal["eval_args"] | (final["eval_args"] or {})
        elsewhere = ("MODEL_TYPE", "model", "dataset")
        self.resolved = {
            key: copy.deepcopy(value) for key, value in final.items() if key not in elsewhere
        }
        return final

    def _set_default_parameters(self) -> None:
        data_path = self.final_config_dict["data_path"]
        super()._set_default_parameters()
        # RecBole sends ml-100k to the copy inside its package, which has no features
        self.final_config_dict["data_path"] = os.path.join(data_path, self.dataset)

    def _init_device(self) -> None:
        if processes.world_size() > 1 and torch.cuda.is_available():
            self.final_config_dict["gpu_id"] = processes.device().index
        super()._init_device()

    def _set_eval_neg_sample_args(self, phase: Literal["valid", "test"]) -> None:
        super()._set_eval_neg_sample_args(phase)
        full = self.final_config_dict["eval_args"]["mode"][phase] == "full"
        if full and self.final_config_dict["MODEL_TYPE"] == ModelType.SEQUENTIAL:
            # the loader ranks all items; RecBole would make a sampler, with a set for each user
            self.final_config_dict[f"{phase}_neg_sample_args"]["distribution"] = "none"

    @property
    def is_own_model(self) -> bool:
        """Whether the model is one of this project's, which read item features."""
        return self.model in OWN_MODELS
