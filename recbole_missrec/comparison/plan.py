"""Which runs a comparison has, and a digest for each of everything that determines its figures."""

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from recbole_missrec.comparison.code import code_digest
from recbole_missrec.config import Config
from recbole_missrec.data.domains import domains
from recbole_missrec.data.locate import find_files
from recbole_missrec.errors import UsageError, nearest
from recbole_missrec.files import replacing
from recbole_missrec.machine import versions
from recbole_missrec.paths import props_dir
from recbole_missrec.registry import module_of
from recbole_missrec.trainer.checkpoint import LEAVES_FIGURES

FORMAT = "recbole-missrec comparison 1"
EVERY = "all"  # MODEL:all stands for the model and each of its ablations
DECIDED: tuple[str, ...] = ("model", "dataset", "seed", "config_files", "checkpoint_dir", "resume")
DECIDED += ("result_file", "per_user")

# Kinds of files that RecBole's models read beside interactions; their columns choose what is read,
# and the per-user results name the category of an item.
ATOMIC = ("item", "user", "kg", "link", "net")


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        label: of the model in tables; that of all seeds, the same on all data sets.
        model: name of a model.
        dataset: name of a data set.
        seed: of the run.
        config_files: files of options.
        options: of the command line, which win over the files.
        digest: of everything that determines the figures.
    """

    label: str
    model: str
    dataset: str
    seed: int
    config_files: tuple[str, ...]
    options: tuple[tuple[str, str], ...]
    digest: str

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "Run":
        """A run as JSON keeps it."""
        pairs = tuple((key, value) for key, value in content["options"])
        files = tuple(content["config_files"])
        return cls(**{**content, "config_files": files, "options": pairs})

    @property
    def words(self) -> list[str]:
        """Command line of the run."""
        words = [f"--model={self.model}", f"--dataset={self.dataset}", f"--seed={self.seed}"]
        if self.config_files:
            words.append(f"--config_files={shlex.join(self.config_files)}")
        return words + [f"--{key}={value}" for key, value in self.options]


def plan_runs(
    models: Sequence[str],
    datasets: Sequence[str],
    seeds: Sequence[int],
    options: Mapping[str, str],
) -> list[Run]:
    """Every model on every data set with every seed, data set by data set.

    Absent data sets that have a recipe are built. Each configuration is checked here, so that a
    wrong option is refused before the first run.

    Args:
        models: names; ``MODEL:NAME`` for the model with ``props/ablation/NAME.yaml``, or with a
            file if NAME ends in ``.yaml``; ``MODEL:all`` for the model and all its ablations.
        datasets: names of data sets.
        seeds: of the runs.
        options: of the command line, for every run.

    Returns:
        The runs, each once: a variant with all the options of another has no row of its own.

    Raises:
        UsageError: an unknown model, ablation, data set, option or value, or two files of one name.
    """
    variants = [variant for model in models for variant in _variants(model)]
    of_label: dict[str, tuple[str, ...]] = {}
    for label, files in variants:
        if of_label.setdefault(label, files) != files:
            raise UsageError(
                f"--models: {label} is {' '.join(of_label[label])} and {' '.join(files)}; give one "
                "of the files another name"
            )
    runs: dict[str, Run] = {}
    for dataset, (label, files), seed in product(datasets, variants, seeds):
        run = plan_run(label, label.partition(":")[0], dataset, seed, files, options)
        runs.setdefault(run.digest, run)
    return list(runs.values())


def _variants(name: str) -> list[tuple[str, tuple[str, ...]]]:
    """Labels and files of options of one entry of ``--models``."""
    model, colon, variant = name.partition(":")
    if not colon:
        return [(name, ())]
    if variant.endswith(".yaml"):
        return [(f"{model}:{Path(variant).stem}", (variant,))]
    known = {path.stem: str(path) for path in sorted((props_dir() / "ablation").glob("*.yaml"))}
    if variant == EVERY:
        return [(model, ()), *((f"{model}:{stem}", (path,)) for stem, path in known.items())]
    if variant not in known:
        near = nearest(variant, [*known, EVERY])
        raise UsageError(f"--models: {model} has no ablation '{variant}'; {near}")
    return [(name, (known[variant],))]


def plan_run(
    label: str,
    model: str,
    dataset: str,
    seed: int,
    config_files: tuple[str, ...],
    options: Mapping[str, str],
) -> Run:
    """Check the configuration of a run and take its digest.

    Raises:
        UsageError: an option that each run has of its own, or as ``Config`` and ``find_files``.
    """
    for key in DECIDED:
        if key in options:
            raise UsageError(f"--{key}={options[key]}: each run of a comparison has its own")
    config = Config(model, dataset, config_files, command_line={**options, "seed": str(seed)})
    find_files(config)
    identity = {
        "model": model,
        "dataset": dataset,
        "options": {
            key: value for key, value in config.resolved.items() if key not in LEAVES_FIGURES
        },
        "data": [file_digest(path) for path in _data_files(config)],
        "code": code_digest(module_of(model)),
        "versions": versions(),
    }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode())
    items = tuple(sorted(options.items()))
    return Run(label, model, dataset, seed, config_files, items, digest.hexdigest()[:12])


def _data_files(config: Config) -> list[Path]:
    """Files that a run may read, those that are there, in a fixed order."""
    parts = domains(config)
    files = [path for domain in parts for path in domain.interactions()]
    more = [domain.folder / f"{domain.name}.{kind}" for domain in parts for kind in ATOMIC]
    if config.is_own_model:
        for domain in parts:
            for modality in config["modalities"]:
                more += [domain.features(modality), domain.augmented(modality)]
        files += [Path(config["pretrained"])] if config["pretrained"] else []
    return files + [path for path in more if path.is_file()]


@cache
def file_digest(path: Path) -> str:
    """SHA-256 of a file, read once a process."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def write_plan(out: Path, runs: Sequence[Run], **more: Any) -> None:
    """Write ``plan.json``: which runs there are, whether finished or not.

    Raises:
        UsageError: it cannot be written.
    """
    content = {"format": FORMAT, **more, "runs": [asdict(run) for run in runs]}
    with replacing(out / "plan.json") as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
