"""The benchmarks of interests on tokens that take no time; their tokens; their plot."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks.interests import main
from benchmarks.plot_interests import main as plot_main
from benchmarks.refresh import main as refresh_main
from benchmarks.tokens import jittered_tokens, structured_tokens
from tests.shops import write_tiny_shop


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """That name the tiny shop."""
    folder = write_tiny_shop(tmp_path_factory.mktemp("shop"))
    return ["--dataset", "tiny", "--data_path", str(folder), "--threads", "1"]


@pytest.mark.slow  # nine interpreters start
def test_every_method_is_measured_on_both_kinds(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)  # RecBole makes folders where it runs
    out, plot = tmp_path / "interests.json", tmp_path / "interests.svg"
    words = [*words, "--tokens", "300", "--ratios", "0.1", "--out", str(out)]
    assert main(words) == 0
    rows = json.loads(out.read_text())["rows"]
    methods = ["dense", "exact", "index", "kmeans"]
    assert [(row["kind"], row["method"]) for row in rows] == [
        (kind, method) for kind in ("structured", "real") for method in methods
    ]
    for row in rows:
        assert row["seconds"] > 0 and row["peak_mib"] > 100 and row["used"] == 30
        compared = row["method"] == "index"  # nine lists, all of which are looked into
        assert (row["equal"], row["rand"]) == ((1, 1) if compared else (None, None))
    assert "as exact" in capsys.readouterr().out
    assert main(words) == 0  # what is there is kept
    assert json.loads(out.read_text())["rows"] == rows
    assert main([*words, "--neighbours", "5"]) == 2
    assert f"--out={out}: of another machine" in capsys.readouterr().err
    assert plot_main([str(out), str(plot)]) == 0
    drawn = plot.read_text()
    assert drawn.count('id="axes_') == 2 and "kmeans, real" in drawn
    assert "interests: 0.1 of the tokens" in drawn


@pytest.mark.slow  # three interpreters start
def test_every_way_to_refresh_is_measured(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "refresh.json"
    ways = ["dpc_knn", "dpc_knn, every fifth epoch", "kmeans, warm"]
    assert refresh_main([*words, "--epochs", "6", "--ways", *ways, "--out", str(out)]) == 0
    rows = json.loads(out.read_text())["rows"]
    assert [(row["way"], row["refreshes"]) for row in rows] == [
        (ways[0], 6),
        (ways[1], 2),
        (ways[2], 6),
    ]
    assert all(row["moved"] > 0 and row["discovery_seconds"] > 0 for row in rows)
    assert "% of training" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--ratios", "0"], ["--ratios", "1.5"], ["--ratios", "many"]])
def test_a_ratio_that_is_none_is_refused(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert f"'{words[1]}' is not a number above 0 and at most 1" in capsys.readouterr().err


def test_structured_tokens_are_nearer_within_their_groups() -> None:
    tokens = structured_tokens(900, 50)
    assert tokens.shape == (900, 50) and tokens.dtype == torch.float32
    assert torch.equal(tokens, structured_tokens(900, 50))
    distances = torch.cdist(tokens, tokens)
    typical = (torch.arange(1, 51).double() ** -1).sum().sqrt()  # length of a draw
    nearest = distances.fill_diagonal_(torch.inf).amin(1)
    assert float(nearest.median()) < typical  # sqrt(2) * 0.5 of it within a group
    assert float(distances[distances.isfinite()].median()) > 1.5 * typical  # sqrt(2) and more


def test_jittered_tokens_stay_with_the_one_they_are_of() -> None:
    tokens = 10 * torch.eye(20)  # the nearest other is sqrt(200) away, half of that the jitter
    copies = jittered_tokens(tokens, 50)
    distances = torch.cdist(copies, tokens)
    sizes = torch.bincount(distances.argmin(1), minlength=20)
    assert sorted(sizes.unique().tolist()) == [2, 3]
    assert float(distances.amin(1).mean()) == pytest.approx(50**0.5, rel=0.1)
