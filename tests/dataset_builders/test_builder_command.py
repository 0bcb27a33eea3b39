"""The command line of the builders: help that names the sources, one message for bad input."""

import subprocess
import sys
from pathlib import Path

import pytest

from dataset_builders.__main__ import main


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            [],
            "SOURCE '': no such source; choose from 'amazon', 'corpus', "
            "'inspect', 'lastfm', 'mmrec', 'movielens', 'released', 'sample', 'tabular'",
        ),
        (["relesed", "x"], "SOURCE 'relesed': no such source; did you mean 'released'?"),
        (["--size=3"], "the following arguments are required: SOURCE"),
        (["sample", "--usrs=700"], "--usrs: not an option of sample; did you mean '--users'?"),
        (["sample", "--users", "many"], "argument --users: invalid int value: 'many'"),
        (["sample", "--users", "5"], "--users 5: must be 600 to 50000; nearest is 600"),
        (["sample", "--items", "9"], "--items 9: must be 60 to 2000; nearest is 60"),
        (["sample", "--seed", "-1"], "--seed -1: must be 0 to 4294967295; nearest is 0"),
        (["released", "missing", "--name", "x"], "DIR missing: no such folder"),
        (["released", "missing"], "the following arguments are required: --name"),
        (
            ["sample", "--text=none", "--text-model=x"],
            "--text-model: nothing is encoded as text",
        ),
        (
            ["tabular", "x.csv", "--user=u", "--item=i", "--time=t", "--name=a b"],
            "--name 'a b': not a folder's name; try 'a-b'",
        ),
    ],
)
def test_bad_input_is_one_message_and_status_2(
    words: list[str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    output = capsys.readouterr()
    assert (output.out, output.err) == ("", expected + "\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--help"], "MovieLens 100K (bundled with RecBole), 1M"),
        (["released", "--help"], "PREFIX.feat1CLS, .feat3CLS"),
        (["movielens", "--help"], "The text of a movie is its title, year and genres"),
        (["sample", "--help"], "The SYNTHETIC shop pantry-sample"),
    ],
)
def test_help(words: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 0
    assert expected in capsys.readouterr().out


@pytest.mark.slow  # four interpreters start
def test_two_processes_build_what_one_does(tmp_path: Path) -> None:
    words = ["-m", "dataset_builders", "sample", "--items", "600", "--text", "none"]
    words += ["--image", "histogram"]  # 510 pictures in two parts

    def build(*start: str, out: str) -> dict[str, bytes]:
        command = [*start, *words, "--out", str(tmp_path / out)]
        outcome = subprocess.run(command, capture_output=True, text=True)
        assert outcome.returncode == 0, outcome.stderr
        assert outcome.stdout.count("510 of 600 items (85.0%), dim 132") == 1
        files = (tmp_path / out / "pantry-sample").rglob("*.*")
        return {p.name: p.read_bytes() for p in files if p.name not in ("card.json", "README.md")}

    torchrun = (sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2")
    assert build(*torchrun, out="two") == build(sys.executable, out="one")
