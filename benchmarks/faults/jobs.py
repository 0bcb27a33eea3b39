"""Commands to be disturbed: how each begins, how it goes on, and what it must end with."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.faults.whole import named_files
from recbole_missrec.errors import UsageError
from recbole_missrec.trainer.checkpoint import load_checkpoint

ROOT = Path(__file__).parents[2]
SAMPLE = ["sample", "--users=150", "--items=120", "--text=tfidf", "--image=histogram", "--out=sets"]
OLDER = [*SAMPLE, "--seed=1", "--out=before/sets"]  # the last --out counts
SMALL = "{hidden_size: 16, n_heads: 2, inner_size: 16, train_batch_size: 64, show_progress: False}"
TRAIN = ["--dataset=pantry-sample", "--data_path=../base/sets", "--checkpoint_dir=saved"]
TRAIN += ["--config_files=../base/small.yaml"]
GRID = [
    "compare",
    "--models=Pop,MISSRec:../base/small.yaml",
    "--datasets=pantry-sample",
    "--data_path=../base/sets",
]
GRID += ["--show_progress=False", "--seeds=1,2", "--epochs=2", "--out=out"]


class Job(NamedTuple):
    """A command, run in a folder of its own beside ``base``.

    Attributes:
        module: that is run.
        words: of the command line, given the folder as it is: those to begin, or to go on with.
        before: steps that make ``base``, in their order.
        needs: paths in ``base`` that are copied into the folder first.
        finished: patterns of files that are never written again.
        result: what is the same however the command was disturbed.
    """

    module: str
    words: Callable[[Path], list[str]]
    before: tuple[str, ...]
    needs: tuple[str, ...]
    finished: tuple[str, ...]
    result: Callable[[Path], Any]


def log_of(folder: Path) -> Path:
    """What commands in a folder print: beside it, since the folder may be a full disk."""
    return folder.with_name(f"{folder.name}.log")


def command(module: str, words: list[str], folder: Path) -> subprocess.Popen[bytes]:
    """Start a command in a session of its own, one thread, its output to ``log_of``."""
    with log_of(folder).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", module, *words],
            cwd=folder,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


STEPS = {
    "older": ("dataset_builders", OLDER),
    "shop": ("dataset_builders", SAMPLE),
    "model": ("recbole_missrec", [*TRAIN, "--epochs=2"]),
    "grid": ("recbole_missrec", [*GRID, "--report=False"]),
}


def make_base(folder: Path, job: Job) -> None:
    """Make, once, what a job begins with.

    Raises:
        UsageError: a command failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "small.yaml").write_text(SMALL, encoding="utf-8")
    for step in job.before:
        done = folder / f"{step}.done"
        if done.exists():
            continue
        module, words = STEPS[step]
        if command(module, words, folder).wait():
            raise UsageError(f"{log_of(folder)}: {words[0]} failed")
        if step == "model":  # one that was cut off may have left another
            newest = max((folder / "saved").glob("*.pth"), key=lambda path: path.stat().st_mtime)
            newest.rename(folder / "model.pth")
        done.touch()


def digests(*patterns: str) -> Callable[[Path], dict[str, str]]:
    """Digest of each named file that fits one of the patterns."""

    def of(folder: Path) -> dict[str, str]:
        wanted = {path for pattern in patterns for path in folder.glob(pattern)}
        return {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in named_files(folder)
            if path in wanted
        }

    return of


def figures(result: Mapping[str, Any]) -> dict[str, Any]:
    """Of a result, what no disturbance changes."""
    curve = [{**epoch, "seconds": None} for epoch in result["curve"]]
    return {key: result[key] for key in ("valid", "test", "best_epoch", "epochs")} | {
        "curve": curve
    }


def trained(folder: Path) -> dict[str, Any]:
    """Figures and weights of a training."""
    result = json.loads((folder / "r.json").read_text(encoding="utf-8"))
    weights = load_checkpoint(folder / result["checkpoint"])["state_dict"]
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(name.encode() + value.contiguous().numpy().tobytes())
    return figures(result) | {"weights": digest.hexdigest()}


def compared(folder: Path) -> dict[str, Any]:
    """Figures of the runs of a grid, their users, and which files the report has."""
    found = {}
    for path in (folder / "out").glob("*.json"):
        if path.name != "plan.json":
            result = json.loads(path.read_text(encoding="utf-8"))
            found[f"{result['label']}, {result['seed']}"] = figures(result)
    return {
        "runs": found,
        "users": digests("out/*.parquet")(folder),
        "report": sorted(digests("out/tables/*", "out/report.*")(folder)),
        "left of runs": sorted(path.name for path in (folder / "out" / "work").glob("*")),
    }


def _train(folder: Path) -> list[str]:
    """Begin, or go on with the newest state."""
    begun = sorted((folder / "saved").glob("*.resume"), key=lambda path: path.stat().st_mtime)
    words = [f"--resume={begun[-1].relative_to(folder)}"] if begun else [*TRAIN, "--epochs=5"]
    return [*words, "--result_file=r.json"]


MODEL = ["model.pth", "--data_path=../base/sets"]
JOBS = {
    "build": Job("dataset_builders", lambda _: SAMPLE, (), (), ("sets/*/*",), digests("sets/**/*")),
    "rebuild": Job(
        "dataset_builders", lambda _: SAMPLE, ("older",), ("before/sets",), (), digests("sets/**/*")
    ),
    "train": Job("recbole_missrec", _train, ("shop",), (), (), trained),
    "grid": Job(
        "recbole_missrec",
        lambda _: GRID,
        ("shop",),
        (),
        ("out/????????*.json", "out/*.parquet"),
        compared,
    ),
    "report": Job(
        "recbole_missrec",
        lambda _: ["report", "out"],
        ("shop", "grid"),
        ("out",),
        ("out/**/*",),
        digests("out/**/*"),
    ),
    "map": Job(
        "recbole_missrec",
        lambda _: ["map", *MODEL, "--out=map.html"],
        ("shop", "model"),
        ("model.pth",),
        ("map.html",),
        digests("map.html"),
    ),
    "export": Job(
        "recbole_missrec",
        lambda _: ["export", *MODEL, "--out=exported"],
        ("shop", "model"),
        ("model.pth",),
        ("exported/*",),
        digests("exported/*"),
    ),
    "remove-items": Job(
        "recbole_missrec",
        lambda _: ["remove-items", *MODEL, "--items=p00001,p00002"],
        ("shop", "model"),
        ("model.pth",),
        ("model.pth",),
        lambda folder: load_checkpoint(folder / "model.items", fields={}),  # of no added items
    ),
}


def begin(job: Job, base: Path, folder: Path) -> None:
    """Make the folder of a job anew, empty but for what it needs; the folder itself may stay."""
    folder.mkdir(parents=True, exist_ok=True)
    log_of(folder).unlink(missing_ok=True)
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name in job.needs:
        if (base / name).is_dir():
            shutil.copytree(base / name, folder / Path(name).name)
        else:
            shutil.copy(base / name, folder)
