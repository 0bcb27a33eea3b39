"""A tiny shop and models that are trained on it, once for all tests of this folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recbole_missrec.cli import main
from recbole_missrec.serving.recommender import Recommender
from tests.shops import tiny_words, write_tiny_shop

MODELS = ("MISSRec", "UniSRec", "SASRecContent")


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny shop with titles and colours; those of i0 try to be more than text."""
    folder = write_tiny_shop(tmp_path_factory.mktemp("shop"))
    titles = ["<img src=x onerror='window.hit = 1'>", *(f"Title {n}" for n in range(1, 24))]
    lines = ["item_id\ttext", *(f"i{n}\t{title}" for n, title in enumerate(titles))]
    (folder / "tiny" / "tiny.text.tsv").write_text("\n".join(lines) + "\n")
    colours = [f"i{n}\t{'red blue' if n % 4 else 'green'}" for n in range(24)]
    header = "item_id:token\tcolour:token_seq"
    (folder / "tiny" / "tiny.item").write_text("\n".join([header, *colours]) + "\n")
    return folder


@pytest.fixture(scope="session")
def trained(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint of each of ``MODELS``, one of a MISSRec whose fusion learned what
    items lack, and one that was tuned by LoRA."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for model in MODELS:
            words = tiny_words(shop, model, epochs=2, checkpoint_dir="saved")
            assert main(words) == 0
            (checkpoint,) = Path("saved").glob("*.pth")
            checkpoint.rename(f"{model}.pth")
        learned: dict[str, Any] = {"calibrate": True, "modality_dropout": 0.5}
        learned["learning_rate"] = 0.05
        assert main(tiny_words(shop, epochs=2, checkpoint_dir="saved", **learned)) == 0
        (checkpoint,) = Path("saved").glob("*.pth")
        checkpoint.rename("calibrated.pth")
        words = tiny_words(shop, epochs=1, checkpoint_dir="saved", pretrained="MISSRec.pth")
        assert main([*words, "--tune=lora", "--lora_rank=2", "--learning_rate=0.1"]) == 0
        (checkpoint,) = Path("saved").glob("*.pth")
        checkpoint.rename("LoRA.pth")
    return folder


@pytest.fixture(scope="session")
def recommender(trained: Path) -> Recommender:
    """Of MISSRec."""
    return Recommender.load(trained / "MISSRec.pth")


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # RecBole writes its logs into the current folder


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that must be refused; gives its one message."""

    def run(*words: object) -> str:
        capsys.readouterr()
        assert main([*map(str, words)]) == 2
        output = capsys.readouterr()
        assert output.out == ""
        (line,) = output.err.splitlines()
        return line.removeprefix("recbole-missrec: ")

    return run
