"""Several processes give what one gives, and one that fails ends all."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_missrec.cli import main
from recbole_missrec.data.features import AUGMENTED
from tests.shops import tiny_options, write_tiny_shop

ROOT = Path(__file__).parents[2]
PRETRAINING = {
    "dataset": "one,two", "softmax": "in_batch", "sequence_contrast": 0.5, "item_ids": False,
    "history_bias": False,
}  # fmt: skip
FORMS: dict[str, dict[str, Any]] = {
    "pre-training": PRETRAINING,
    "pre-training, released regulariser": PRETRAINING
    | {"orthogonality": "released", "seq_mm_fusion": "contextual"},
    "fine-tuning": {"dataset": "one"},
    "SASRecContent": {"dataset": "one", "model": "SASRecContent"},
}
NO_DROPOUT: dict[str, dict[str, float]] = {
    "MISSRec": {"dropout": 0.0, "gamma": 0.7},
    "SASRecContent": {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0},
}


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With augmented texts, as the dropout of features instead of them draws in each process."""
    folder = tmp_path_factory.mktemp("shops")
    for seed, name in enumerate(("one", "two")):
        write_tiny_shop(folder, name=name, seed=seed)
        text = folder / name / f"{name}.text.safetensors"
        (folder / name / AUGMENTED).mkdir()
        shutil.copy(text, folder / name / AUGMENTED)
    return folder


def options(shops: Path, form: dict[str, Any]) -> dict[str, Any]:
    model = form.get("model", "MISSRec")
    of_model = NO_DROPOUT[model] | {"learning_rate": 0.01, "ema_decay": 0.0}
    return tiny_options(shops, model, **of_model) | form


def run(folder: Path, *words: str, processes: int) -> subprocess.CompletedProcess[str]:
    launcher = ["torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", "-m"]
    return subprocess.run(
        [sys.executable, "-m", *(launcher if processes > 1 else []), *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_two_processes_take_the_steps_of_one(
    shops: Path, tmp_path: Path, form: dict[str, Any]
) -> None:
    """Weights to 1e-9 in float64, gradients of each step to 1e-5 in float32."""
    found = []
    for processes in (1, 2):
        out = tmp_path / f"{processes}.pt"
        given = json.dumps(options(shops, form))
        done = run(
            tmp_path, "tests.trainer.distributed_steps", given, str(out), processes=processes
        )
        assert done.returncode == 0, done.stderr[-3000:]
        found.append(torch.load(out, weights_only=True))
    for dtype, tolerance in (("torch.float64", 1e-9), ("torch.float32", 1e-5)):
        one, two = (each[dtype] for each in found)
        assert len(one["gradients"]) == 3
        pairs = [*zip(one["gradients"], two["gradients"], strict=True)]
        if dtype == "torch.float64":  # Adam makes steps of rounding noise where gradients are zero
            pairs.append((one["weights"], two["weights"]))
        for expected, shared in pairs:
            for name, value in expected.items():
                error = (shared[name] - value).abs().max()
                assert error <= tolerance * (1 + value.abs().max()), (name, float(error))


@pytest.mark.slow
def test_a_run_in_two_processes(shops: Path, tmp_path: Path) -> None:
    """One file of each kind; the figures of one process but for rounding."""
    given = options(shops, PRETRAINING) | {"epochs": 3, "result_file": "result.json"}
    words = [f"--{key}={value}" for key, value in given.items()]
    for name, more in (("one", []), ("two", ["--nproc=2"])):
        (tmp_path / name).mkdir()
        script = ("recbole_missrec", *words, f"--checkpoint_dir={name}", *more)
        script = tuple(word for word in script if not word.startswith("--checkpoint_dir=/"))
        done = run(tmp_path / name, *script, processes=1)
        assert done.returncode == 0, done.stderr[-3000:]
    results = {
        name: json.loads((tmp_path / name / "result.json").read_text()) for name in ("one", "two")
    }
    assert results["two"]["test"] == pytest.approx(results["one"]["test"], abs=1e-3)
    losses = [[epoch["loss"] for epoch in results[name]["curve"]] for name in ("one", "two")]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    folder = tmp_path / "two" / "two"
    assert [path.suffix for path in sorted(folder.iterdir())] == [".json", ".pth"]


@pytest.mark.slow
def test_a_process_that_fails_ends_the_others(shops: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys\nfrom recbole_missrec.cli import main\n"
        "words = sys.argv[1:]\n"
        "if os.environ['RANK'] == '1':\n    words.append('--modalities=[smell]')\n"
        "sys.exit(main(words))\n"
    )
    words = [f"--{key}={value}" for key, value in options(shops, {"dataset": "one"}).items()]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run(
        [*launcher, "--nproc_per_node=2", str(script), *words],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode != 0
    assert "recbole-missrec: process 1: --modalities" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--nproc=two"], "--nproc=two: must be a whole number"),
        (["--nproc=2", "--world_size=3"], "--nproc=2: world_size 3"),
        (["--nproc=0"], "--nproc=0: "),
    ],
)
def test_wrong_flags(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--dataset=one", *words]) == 2
    assert message in capsys.readouterr().err
