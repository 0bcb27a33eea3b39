"""The benchmark of encoders on a few items."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.encode import main
from benchmarks.encode_inputs import draw_pictures, draw_texts


def test_generated_inputs_have_the_sizes_that_were_asked_for(tmp_path: Path) -> None:
    texts = draw_texts(10_050, mean=4.3, deviation=0.9)
    lengths = [len(text.split()) for text in texts]
    assert len(texts) == 10_050 and min(lengths) >= 1
    assert np.median(lengths) == pytest.approx(np.exp(4.3), rel=0.05)
    pictures = draw_pictures(130, (50, 75), tmp_path)
    assert len(pictures) == 130 and len(set(pictures.values())) == 100
    with Image.open(pictures["i129"]) as picture:
        assert picture.size == (50, 75)


@pytest.mark.slow
def test_every_figure_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MISSREC_DATA", str(tmp_path))
    out = tmp_path / "encode.json"
    words = ["--items", "6", "--texts", "6", "--repeats", "1", "--threads", "2"]
    words += ["--speed", "efficientnet", "--memory", "tiny", "--generated", "300"]
    assert main([*words, "--out", str(out)]) == 0
    figures = json.loads(out.read_text())
    assert figures["inputs"] == "generated"
    forms = [(row["encoder"], row["processes"], row["threads"]) for row in figures["speed"]]
    assert forms == [("efficientnet", 1, 2), ("efficientnet", 2, 1)]
    assert all(row["items_per_second"] > 0 for row in figures["speed"])
    assert figures["padding"]["times_as_fast"] > 0
    (row,) = figures["memory"]
    assert (row["encoder"], row["items"]) == ("tiny", 300)
    assert row["output_mib"] == pytest.approx(300 * 16 * 4 / 2**20)
    assert "times as fast" in capsys.readouterr().out
