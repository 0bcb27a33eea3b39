"""Several processes give what one gives, and one that fails ends all."""

import json
import os
import shutil
import socket
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


@pytest.fixture(scope="module")
def steps_taken(shops: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Weights and gradients of every form by dtype, of one process and of two."""
    folder = tmp_path_factory.mktemp("steps")
    given = json.dumps({name: options(shops, form) for name, form in FORMS.items()})
    found = []
    for processes in (1, 2):
        out = str(folder / f"{processes}.pt")
        done = run(folder, "tests.trainer.distributed_steps", given, out, processes=processes)
        assert done.returncode == 0, done.stderr[-3000:]
        found.append(torch.load(out, weights_only=True))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_two_processes_take_the_steps_of_one(steps_taken: list[dict[str, Any]], form: str) -> None:
    """Weights to 1e-9 in float64, gradients of each step to 1e-5 in float32."""
    for dtype, tolerance in (("torch.float64", 1e-9), ("torch.float32", 1e-5)):
        one, two = (each[form][dtype] for each in steps_taken)
        assert len(one["gradients"]) == 3
        pairs = [*zip(one["gradients"], two["gradients"], strict=True)]
        if dtype == "torch.float64":  # Adam makes steps of rounding noise where gradients are zero
            pairs.append((one["weights"], two["weights"]))
        for expected, shared in pairs:
            for name, value in expected.items():
                wanted = value.double()  # of a mask as well
                error = (shared[name].double() - wanted).abs().max()
                assert error <= tolerance * (1 + wanted.abs().max()), (name, float(error))


WHOLE_RUN = PRETRAINING | {"epochs": 3, "checkpoint_dir": "saved", "result_file": "result.json"}
WHOLE_RUN["eval_batch_size"] = 7  # so that each process evaluates some


def whole_run(shops: Path, folder: Path, *words: str, **more: Any) -> dict[str, Any]:
    """Result of a pre-training by the command line in a folder."""
    given = (f"--{key}={value}" for key, value in options(shops, WHOLE_RUN | more).items())
    done = run(folder, "recbole_missrec", *given, *words, processes=1)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / "result.json").read_text())


@pytest.mark.slow
def test_a_run_in_two_processes(
    shops: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """One file of each kind; the figures of one process but for rounding."""
    folder = tmp_path_factory.mktemp("two")
    one, two = whole_run(shops, tmp_path), whole_run(shops, folder, "--nproc=2")
    assert two["test"] == pytest.approx(one["test"], abs=1e-3)
    losses = [[epoch["loss"] for epoch in result["curve"]] for result in (one, two)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert [path.suffix for path in sorted((folder / "saved").iterdir())] == [".json", ".pth"]


@pytest.mark.slow
def test_a_cut_run_in_two_processes_goes_on_to_the_same_figures(
    shops: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """With dropout, which each process draws for itself."""
    drawn = {"dropout": 0.3}
    whole = whole_run(shops, tmp_path_factory.mktemp("whole"), "--nproc=2", **drawn)
    (tmp_path / "cut.py").write_text(
        "import sys\nfrom recbole_missrec.cli import main\n"
        "from recbole_missrec.trainer.trainer import HookedTrainer\n"
        "whole = HookedTrainer._train_epoch\n"
        "def cut(self, data, epoch, *rest, **more):\n"
        "    loss = whole(self, data, epoch, *rest, **more)\n"
        "    if epoch == 1:\n        raise KeyboardInterrupt\n    return loss\n"
        "HookedTrainer._train_epoch = cut\nsys.exit(main())\n"
    )
    words = [f"--{key}={value}" for key, value in options(shops, WHOLE_RUN | drawn).items()]
    assert run(tmp_path, "cut", *words, processes=2).returncode != 0
    assert not (tmp_path / "result.json").exists()
    (state,) = (tmp_path / "saved").glob("*.resume")
    alone = run(tmp_path, "recbole_missrec", f"--resume={state}", processes=1)
    assert alone.returncode == 2
    assert "of 2 processes, these are 1; start as many with torchrun" in alone.stderr
    done = run(tmp_path, "recbole_missrec", f"--resume={state}", processes=2)
    assert done.returncode == 0, done.stderr[-3000:]
    resumed = json.loads((tmp_path / "result.json").read_text())
    for key in ("valid", "test", "best_epoch", "domains"):
        assert resumed[key] == whole[key]
    losses = [[epoch["loss"] for epoch in result["curve"]] for result in (whole, resumed)]
    assert losses[0] == losses[1]


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


@pytest.mark.slow
def test_a_message_and_its_status_come_through(shops: Path, tmp_path: Path) -> None:
    words = [f"--{key}={value}" for key, value in options(shops, {"dataset": "one"}).items()]
    done = run(
        tmp_path, "recbole_missrec", *words, "--modalities=[smell]", "--nproc=2", processes=1
    )
    assert done.returncode == 2
    assert "recbole-missrec: --modalities" in done.stderr
    assert "Traceback" not in done.stderr and "ChildFailedError" not in done.stderr


def test_a_port_that_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("localhost", 0)) as server:
        port = server.getsockname()[1]
        words = ["--dataset=one", "--nproc=1", "--world_size=2", f"--port={port}"]
        assert main(words) == 2
    error = capsys.readouterr().err
    assert f"--ip=localhost --port={port}: the processes do not meet: The server socket" in error


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
