"""The benchmark of serving on a catalogue that takes no time."""

import json
from pathlib import Path

import pytest

from benchmarks.serve import main
from recbole_missrec.cli import main as command
from tests.shops import tiny_words, write_tiny_shop


@pytest.mark.slow
def test_searches_and_the_service_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shop = write_tiny_shop(tmp_path / "shop")
    assert command(tiny_words(shop, "UniSRec", epochs=1, checkpoint_dir="saved")) == 0
    (checkpoint,) = Path("saved").glob("*.pth")
    words = ["--items", "2000", "--queries", "20", "--threads", "1", "--out", "serve.json"]
    load = ["--checkpoint", str(checkpoint), "--data_path", str(shop), "--clients", "8"]
    assert main([*words, *load, "--seconds", "1"]) == 0
    searched, loaded = json.loads(Path("serve.json").read_text())["rows"]
    assert searched["items"] == 2000 and 0.9 < searched["recall"] <= 1
    for kind in ("bare", "exact", "approximate"):
        for name in ("single", "batched"):
            assert searched[f"{kind}_{name}_p99_ms"] >= searched[f"{kind}_{name}_median_ms"] > 0
    assert loaded["clients"] == 8 and loaded["lost"] == 0 and loaded["requests"] >= 8
    assert "recall@10" in capsys.readouterr().out
    assert main(words) == 0  # what is there is kept
    assert json.loads(Path("serve.json").read_text())["rows"][0] == searched


def test_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--items", "--checkpoint", str(tmp_path / "no.pth")]) == 2
    assert "no.pth: cannot be read: No such file" in capsys.readouterr().err
