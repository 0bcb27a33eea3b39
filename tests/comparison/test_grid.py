"""The command ``compare``: whole grids of small runs, killed, failing, asked for again."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from recbole_missrec.cli import main
from recbole_missrec.comparison.execution import MEMORY
from recbole_missrec.evaluation.per_user import read_per_user
from tests.shops import write_tiny_shop

SCRIPT = str(Path(__file__).parents[2] / "run_recbole_missrec.py")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text("hidden_size: 8\nn_heads: 2\ninner_size: 12\n")


def words(shop: Path, models: str, *more: str, out: str = "out") -> list[str]:
    given = [f"--models={models}", "--datasets=tiny", f"--out={out}", f"--data_path={shop}"]
    return ["compare", *given, "--epochs=2", "--report=False", *more]


def results(out: str = "out") -> dict[tuple[str, int], dict[str, Any]]:
    """Results of a folder by label and seed."""
    found = [
        json.loads(path.read_text())
        for path in Path(out).glob("*.json")
        if path.name != "plan.json" and ".error." not in path.name
    ]
    return {(result["label"], result["seed"]): result for result in found}


def figures(result: dict[str, Any]) -> tuple[Any, ...]:
    return result["valid"], result["test"], result["best_epoch"], result["epochs"]


@pytest.mark.slow  # five interpreters start
def test_a_grid_with_a_failing_model(shop: Path, capfd: pytest.CaptureFixture[str]) -> None:
    # RecBole's S3Rec needs a field that the shop lacks
    assert main(words(shop, "S3Rec,MISSRec:small.yaml,Pop", "--parallel=2")) == 1
    said = capfd.readouterr().err
    assert "3 runs, 0 of them done before" in said and "1 of 3 runs failed" in said
    assert "S3Rec on tiny, seed 2020: failed, see out/" in said
    found = results()
    assert list(sorted(found)) == [("MISSRec:small", 2020), ("Pop", 2020)]
    (failure,) = (json.loads(path.read_text()) for path in Path("out").glob("*.error.json"))
    assert (failure["label"], failure["status"]) == ("S3Rec", 2)
    assert "Field [class] not defined" in failure["error"]
    plan = json.loads(Path("out/plan.json").read_text())
    assert plan["format"] == "recbole-missrec comparison 1"
    assert [run["label"] for run in plan["runs"]] == ["S3Rec", "MISSRec:small", "Pop"]

    own = found["MISSRec:small", 2020]
    assert own["digest"] in [run["digest"] for run in plan["runs"]]
    assert own["seconds"] > 0 and own["checkpoint"] is None
    frame = read_per_user(f"out/{own['digest']}.parquet")
    assert float((frame["rank"] <= 10).mean()) == pytest.approx(own["test"]["recall@10"])

    bare = ["--dataset=tiny", "--config_files=small.yaml", f"--data_path={shop}", "--epochs=2"]
    assert main([*bare, "--result_file=bare.json"]) == 0  # a run of the grid is a bare run
    assert figures(json.loads(Path("bare.json").read_text())) == figures(own)

    before = {path: path.stat().st_mtime_ns for path in Path("out").glob("*.json")}
    left = Path("out/work") / own["digest"]  # as by a kill just after the result was named
    left.mkdir()
    (left / "log").touch()
    assert main(words(shop, "MISSRec:small.yaml,Pop")) == 0  # nothing is left to do
    assert "2 runs, 2 of them done before" in capfd.readouterr().err
    changed = [path.name for path, time in before.items() if path.stat().st_mtime_ns != time]
    assert changed == ["plan.json"]
    assert not left.exists()


def kill_after_first_result(command: list[str]) -> None:
    """Start a grid and kill it, and its runs, when the first of them is done."""
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 300
    while not results() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert process.poll() is None, "the grid ended before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.slow  # two interpreters start
def test_a_grid_that_is_told_to_end_ends_its_runs(shop: Path) -> None:
    given = [
        "--epochs=100000" if "epochs" in word else word for word in words(shop, "MISSRec,UniSRec")
    ]
    grid = subprocess.Popen([sys.executable, SCRIPT, *given], stderr=subprocess.PIPE, text=True)
    while not list(Path("out").glob("work/*/*.resume")):
        assert grid.poll() is None
        time.sleep(0.05)
    (child,) = psutil.Process(grid.pid).children()
    assert MEMORY.items() <= child.environ().items()
    grid.terminate()
    _, said = grid.communicate(timeout=60)
    assert grid.returncode == 130 and "the same command goes on" in said
    lock, *others = Path("out").glob("work/*/lock")
    assert not others  # the second run was not begun
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # no run holds it any more
    assert list(Path("out").glob("*.json")) == [Path("out/plan.json")]  # no failure is recorded


@pytest.mark.slow  # two interpreters start
def test_a_run_that_was_killed_is_recorded_as_such(shop: Path) -> None:
    given = ["--epochs=100000" if "epochs" in word else word for word in words(shop, "MISSRec")]
    grid = subprocess.Popen([sys.executable, SCRIPT, *given], stderr=subprocess.DEVNULL)
    while not list(Path("out").glob("work/*/*.resume")):
        assert grid.poll() is None
        time.sleep(0.05)
    (child,) = psutil.Process(grid.pid).children()
    child.kill()
    assert grid.wait(timeout=60) == 1
    (failure,) = (json.loads(path.read_text()) for path in Path("out").glob("*.error.json"))
    assert failure["error"].splitlines()[-1] == "killed by SIGKILL"


@pytest.mark.slow  # seven interpreters start
def test_a_killed_grid_goes_on(shop: Path) -> None:
    # Pop is done first; MISSRec has enough epochs to be killed in the middle of them
    Path("my options").mkdir()
    Path("small.yaml").rename("my options/small.yaml")
    models = ("Pop,MISSRec:my options/small.yaml", "--seeds=1,2")
    kill_after_first_result([sys.executable, SCRIPT, *words(shop, *models)])
    ((key, first),) = results().items()
    assert key == ("Pop", 1)
    stamp = Path(f"out/{first['digest']}.json").stat().st_mtime_ns
    assert main(words(shop, *models, "--parallel=2")) == 0
    found = results()
    assert len(found) == 4
    assert Path(f"out/{first['digest']}.json").stat().st_mtime_ns == stamp
    assert list(Path("out/work").iterdir()) == []
    assert not any("/work/" in path.read_text() for path in Path("out").glob("*.json"))
    assert main(words(shop, *models, out="whole")) == 0
    whole = results("whole")
    assert {key: figures(value) for key, value in found.items()} == {
        key: figures(value) for key, value in whole.items()
    }


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--datasets=tiny", "--out=o"], "--models is missing"),
        (["--models=Pop", "--datasets=tiny"], "--out is missing"),
        (["--models=Pop,Pop", "--datasets=tiny", "--out=o"], "--models=Pop,Pop: must be different"),
        (["--models=Pop", "--datasets=tiny", "--seeds=a", "--out=o"], "--seeds=a: must be a whole"),
        (["--models=Pop", "--datasets=tiny", "--parallel=0", "--out=o"], "--parallel=0: must be"),
        (["--models=Pop", "--datasets=tiny", "--report=no", "--out=o"], "--report=no: must be"),
        (["--models=Popp", "--datasets=tiny", "--out=o"], "--model=Popp: no such model"),
    ],
)
def test_refusals(
    shop: Path, given: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *given, f"--data_path={shop}"]) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert not Path("o").exists()


def test_a_damaged_result_is_named(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from recbole_missrec.comparison.plan import plan_runs

    (run,) = plan_runs(["Pop"], ["tiny"], [2020], {"data_path": str(shop), "epochs": "2"})
    Path("out").mkdir()
    Path(f"out/{run.digest}.json").write_text("{")
    assert main(words(shop, "Pop")) == 2
    assert f"out/{run.digest}.json: damaged" in capsys.readouterr().err


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--help"]) == 0
    assert "--parallel=N" in capsys.readouterr().out
