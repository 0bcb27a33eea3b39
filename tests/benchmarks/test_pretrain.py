"""The benchmark of a large pre-training, on a small corpus."""

import json
from pathlib import Path

import pytest

from benchmarks.prepare_data import Size
from benchmarks.pretrain import computed, main, make_corpus
from benchmarks.pretrain_steps import Clock


def test_computed_figures_by_hand() -> None:
    found = {
        "step_seconds": {"forward": 1.5, "backward": 0.5},
        "batch": 100,
        "steps_per_epoch": 7,
        "validation_batches": 6,
        "processes": 2,
        "items_seconds": 10.0,
        "rank_seconds": 4.0,
    }
    assert computed(found) == {
        "sequences_per_second": 50,
        "computed_training_seconds": 7 * 2,
        "computed_validation_seconds": 10 + 3 * 4,
    }


def test_a_part_within_another_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 2.0, 5.0, 6.0, 7.0, 11.0])  # outer, inner, inner, outer; outer again
    monkeypatch.setattr("time.perf_counter", lambda: next(times))
    clock = Clock()
    with clock.part("outer"), clock.part("inner"):
        pass
    with clock.part("outer"):
        pass
    assert clock.seconds == {"outer": 6 - 3 + 4, "inner": 3}


@pytest.mark.slow  # two interpreters start
def test_one_and_two_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    corpus = ["--users=60", "--items=50", "--interactions=400", "--folder=corpus", "--batch=64"]
    steps = ["--steps=1", "--warm_up=1", "--threads=1", "--out=figures.json", "--discover"]
    assert main([*corpus, *steps]) == 0
    result = json.loads(Path("figures.json").read_text())
    one, two = result["rows"]
    assert [row["processes"] for row in (one, two)] == [1, 2]
    for row in (one, two):
        assert row["sequences"] == 400 - 3 * 60  # but the first and the two that are held out
        assert row["steps_per_epoch"] == 4
        assert min(row["step_seconds"].values()) > 0
        assert row["peak_memory_mib"] > 100
    assert one["discovery_seconds"] > 0 and two["discovery_seconds"] is None


def test_too_few_interactions(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--users=100", "--items=10", "--interactions=400"]) == 2
    assert "--interactions=400: too few for 100 users" in capsys.readouterr().err


def test_more_steps_than_an_epoch_has(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """220 training rows are four batches of 64."""
    corpus = ["--users=60", "--items=50", "--interactions=400", f"--folder={tmp_path}"]
    assert main([*corpus, "--batch=64", "--steps=4", "--warm_up=1"]) == 2
    assert capsys.readouterr().err == (
        "--steps=4: with --warm_up=1 more than the 4 of an epoch by --batch=64\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_kept_corpus_of_another_size(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    make_corpus(tmp_path, Size(60, 50, 400))
    made = (tmp_path / "corpus" / "corpus.inter").stat().st_mtime_ns
    make_corpus(tmp_path, Size(60, 50, 400))
    capsys.readouterr()
    words = ["--users=70", "--items=50", "--interactions=400", f"--folder={tmp_path}"]
    assert main([*words, "--batch=8", "--steps=1"]) == 2
    assert capsys.readouterr().err == (
        f"--folder={tmp_path}: its corpus has 60 users, 50 items, 400 interactions, "
        "not 70 users, 50 items, 400 interactions; name another\n"
    )
    assert (tmp_path / "corpus" / "corpus.inter").stat().st_mtime_ns == made
