"""The scaling benchmark on a catalogue that takes no time."""

import json
from pathlib import Path

import pytest

from benchmarks.plot_scaling import main as plot_main
from benchmarks.scaling import main


@pytest.mark.slow
def test_every_model_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "scaling.json"
    words = ["--items", "300", "--lengths", "7", "--steps", "1", "--limit", "1", "--threads", "1"]
    words += ["--out", str(out)]
    assert main(words) == 0
    rows = json.loads(out.read_text())["rows"]
    assert [row["model"] for row in rows] == ["MISSRec", "MISSRec, sampled", "SASRec"] * 2
    assert [bool(row["parts"]) for row in rows] == [False, False, False, True, False, False]
    assert {"encoder", "decoder", "scores and loss"} < rows[3]["parts"].keys()
    assert all(part["ms"] > 0 and part["mib"] >= 0 for part in rows[3]["parts"].values())
    for row in rows:
        sizes = {"items": (300, 512, 1), "lengths": (10_000, 16, 1)}[row["sweep"]]
        assert (row["items"], row["rows"], row["steps_measured"]) == sizes
        assert row["users_measured"] >= 2048
        assert row["step_seconds"] > 0 and row["evaluation_seconds"] > 0
    assert "10,000 users s" in capsys.readouterr().out
    assert main(words) == 0  # what is there is kept
    assert json.loads(out.read_text())["rows"] == rows
    words[words.index("--threads") + 1] = "2"
    assert main(words) == 2
    assert f"--out={out}: of another machine or version" in capsys.readouterr().err
    for content, reason in (("[", "is not what --out writes"), ("[]", "of another machine")):
        out.write_text(content)
        assert main(words) == 2
        assert f"--out={out}: {reason}" in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_refused_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--out", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err


def test_plot_of_measured_points(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    measured = {"step_seconds": 1.0, "step_memory_mib": 2.0, "evaluation_seconds": 3.0}
    rows = [
        {"sweep": sweep, "model": model, "items": items, "longest": 50 * items, **measured}
        for sweep in ("items", "lengths")
        for model in ("MISSRec", "SASRec")
        for items in (10, 100)
    ]
    figures, plot = tmp_path / "figures.json", tmp_path / "plot.svg"
    figures.write_text(json.dumps({"rows": rows}))
    assert plot_main([str(figures), str(plot)]) == 0
    drawn = plot.read_bytes()
    assert drawn.count(b'id="axes_') == 6
    for text in (b"MISSRec", b"SASRec", b"items of a history", b"ranking 10,000 users"):
        assert text in drawn
    assert plot_main([str(figures), str(plot)]) == 0
    assert plot.read_bytes() == drawn
    figures.write_text(json.dumps({"rows": rows[:4]}))  # one sweep alone
    assert plot_main([str(figures), str(plot)]) == 0
    assert plot.read_bytes().count(b'id="axes_') == 3
    figures.write_text("{}")
    assert plot_main([str(figures), str(plot)]) == 2
    assert "is not what --out of benchmarks.scaling writes" in capsys.readouterr().err
