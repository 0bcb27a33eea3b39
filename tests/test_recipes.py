"""A known data set that is absent is built, then trained on; without a network nothing is."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "run_recbole_missrec.py"


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the script in a folder of its own; nothing answers where it looks for the network."""
    closed = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
    return subprocess.run(
        [sys.executable, SCRIPT, "--state=error", "--show_progress=False", *words],
        cwd=folder,
        env=os.environ | closed | {"XDG_CACHE_HOME": str(folder / "cache"), "no_proxy": ""},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow  # three interpreters start
def test_an_absent_data_set_is_built_and_trained_on(tmp_path: Path) -> None:
    recipe = "python -m dataset_builders sample --users 700 --items 60 --text tfidf --image none"
    words = ["--dataset=pantry-sample", "--model=MISSRec", "--modalities=None", "--epochs=1"]
    words += [f"--build={recipe}", "--result_file=r.json", "--data_path=my shops"]
    outcome = run(tmp_path, *words)
    assert outcome.returncode == 0, outcome.stderr
    first = outcome.stderr.splitlines()[0]
    assert first == f"pantry-sample is not in my shops; building it: {recipe} --out 'my shops'"
    assert (tmp_path / "my shops" / "pantry-sample" / "card.json").is_file()
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["config"]["modalities"] == ["text"]  # all that were built
    again = run(tmp_path, *words)
    assert (again.returncode, "building" in again.stderr) == (0, False)


@pytest.mark.slow  # two interpreters start
def test_without_a_network_the_address_and_another_way_are_named(tmp_path: Path) -> None:
    start = time.monotonic()
    outcome = run(tmp_path, "--dataset=Pantry")
    assert outcome.returncode == 2
    assert time.monotonic() - start < 60
    lines = outcome.stderr.splitlines()
    assert lines[0].startswith("Pantry is not in dataset; building it: python -m dataset_builders")
    [reason] = [line for line in lines if "categoryFilesSmall/Prime_Pantry.csv" in line]
    command = "python -m dataset_builders amazon --set Pantry --out dataset --source FOLDER"
    assert reason.endswith(
        f"with Prime_Pantry.csv, meta_Prime_Pantry.json.gz fetched elsewhere: {command}"
    )
    assert lines[-1] == "recbole-missrec: --dataset=Pantry: could not be built, see above"
    assert not (tmp_path / "dataset" / "Pantry").exists()
