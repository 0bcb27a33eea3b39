"""The command ``search``: random search of options, as many trials for each model."""

import json
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from recbole.evaluator.register import metrics_dict
from sklearn.model_selection import ParameterGrid

from recbole_missrec.comparison.execution import read_result
from recbole_missrec.comparison.grid import run_all
from recbole_missrec.comparison.plan import Run, plan_run, write_plan
from recbole_missrec.config import Config
from recbole_missrec.errors import UsageError, nearest
from recbole_missrec.files import replacing
from recbole_missrec.options import OptionLoader
from recbole_missrec.paths import props_dir
from recbole_missrec.protocol import check_computed
from recbole_missrec.words import names, say, take, whole_number

HELP = """\
Search the options of models by random search, with as many trials for each; choose on validation.

  python run_recbole_missrec.py search --models=MISSRec,SASRec --datasets=Scientific --trials=8
                                       --out=runs/search [--key=value ...]

  --models=A,B        models with a search space, props/search/MODEL.yaml: lists of values by option
  --datasets=A,B      names of data sets
  --trials=N          of each model on each data set, the first with its defaults; default: 8
  --seed=N            of the draws and of every run; default: 2020
  --metric=NAME       on validation, by which to choose; default: ndcg@10
  --out=DIR           results; DIR/props/MODEL-DATASET.yaml has the chosen values: copied to
                      props/model_dataset they become the defaults
  --parallel=N, --cluster=ADDRESS, --key=value   as with compare

A search that was killed goes on where it was. More trials go on from fewer.
"""
OWN = {
    "models": None, "datasets": None, "out": None,
    "trials": "8", "seed": "2020", "metric": "ndcg@10", "parallel": "1",
}  # fmt: skip


def search(options: dict[str, str]) -> int:
    """Run a search.

    Args:
        options: of the command line, values as text.

    Returns:
        Exit status: 0, or 1 if a trial failed.

    Raises:
        UsageError: an option is missing or wrong; nothing has been run then.
    """
    given = take(options, OWN)
    cluster = options.pop("cluster", None)
    number, parallel = (whole_number(key, given[key]) for key in ("trials", "parallel"))
    seed, out = whole_number("seed", given["seed"], lowest=0), Path(given["out"])
    trials = {
        (model, dataset): _plan(model, dataset, seed, number, options)
        for dataset in names("datasets", given["datasets"])
        for model in names("models", given["models"])
    }
    for model, dataset in trials:
        config = Config(model, dataset, command_line=options)
        check_computed("metric", given["metric"], config["metrics"], config["topk"])
    runs = [run for planned in trials.values() for run in planned]
    write_plan(out, runs)
    failed = run_all(runs, out, parallel, cluster)
    for (model, dataset), planned in trials.items():
        _choose(planned, out, given["metric"], out / "props" / f"{model}-{dataset}.yaml")
    return int(bool(failed))


def _plan(
    model: str, dataset: str, seed: int, number: int, options: Mapping[str, str]
) -> dict[Run, dict[str, Any]]:
    """Trials and what each changes."""
    grid = ParameterGrid(search_space(model))
    drawn = (grid[point] for point in np.random.default_rng(seed).permutation(len(grid)))
    trials: dict[str, tuple[Run, dict[str, Any]]] = {}  # by digest: a draw may be the defaults
    for values in chain([{}], drawn):
        words = {key: json.dumps(value) for key, value in values.items()}
        label = f"{model}#{len(trials)}"
        run = plan_run(label, model, dataset, seed, (), {**options, **words})
        trials.setdefault(run.digest, (run, values))
        if len(trials) == number:
            break
    return dict(trials.values())


def search_space(model: str) -> dict[str, list[Any]]:
    """Values of each option of a model that a search tries.

    Raises:
        UsageError: the model has no space, or it is not lists of values by option.
    """
    folder = props_dir() / "search"
    known = [path.stem for path in folder.glob("*.yaml")]
    if model not in known:
        raise UsageError(f"--models: {folder} has no space for '{model}'; {nearest(model, known)}")
    path = folder / f"{model}.yaml"
    space = yaml.load(path.read_text(encoding="utf-8"), Loader=OptionLoader)
    if not isinstance(space, dict) or not all(isinstance(v, list) and v for v in space.values()):
        raise UsageError(f"{path}: must hold lists of values by option")
    return space


def _choose(trials: Mapping[Run, dict[str, Any]], out: Path, metric: str, path: Path) -> None:
    """Write the values of the best trial as a props file; at a tie those of the first."""
    results = {run: read_result(out, run) for run in trials}
    scores = {run: result["valid"][metric.lower()] for run, result in results.items() if result}
    default, *_ = trials
    if not scores:
        say(f"{default.model} on {default.dataset}: every trial failed, nothing is chosen")
        return
    smaller = metrics_dict[metric.lower().partition("@")[0]].smaller
    best = (min if smaller else max)(scores, key=scores.__getitem__)
    first = f"{scores[default]:.4f}" if default in scores else "failed"
    text = (
        f"# Best of {len(scores)} trials by {metric} on validation, seed {default.seed}: "
        f"{scores[best]:.4f}; the defaults: {first}.\n"
    )
    if trials[best]:
        text += yaml.safe_dump(trials[best])
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    say(f"{path}: {text.strip()}")
