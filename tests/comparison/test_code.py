"""The digest of the code that determines figures: which edits change it and which do not."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import recbole_missrec
from recbole_missrec.comparison.code import code_digest

MISSREC = "recbole_missrec.model.missrec"
PRINT = "from recbole_missrec.comparison.code import code_digest; print(code_digest({!r}))"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package that may be edited."""
    source = Path(recbole_missrec.__file__).parent
    ignored = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(source, tmp_path / "recbole_missrec", ignore=ignored))


def digest(copy: Path, module: str | None = MISSREC) -> str:
    command = [sys.executable, "-c", PRINT.format(module)]
    folder = copy.parent  # first on the path of a command
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_a_copy_has_the_digest_of_the_original(copy: Path) -> None:
    assert digest(copy).strip() == code_digest(MISSREC)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("model/missrec.py", "F.normalize(", "F.normalize(2 * "),
        ("losses/cross_entropy.py", ".mean()", ".sum()"),  # imported by what the model imports
        ("trainer/trainer.py", "self.optimizer.step()", "pass"),
        ("data/groups.py", 'kind="stable"', 'kind="quicksort"'),
        ("trainer/freezing.py", '"fusion"', '"position_embedding"'),
        ("processes.py", "return ", "return not "),  # imported from the package itself
    ],
)
def test_what_changes_figures_changes_it(copy: Path, file: str, old: str, new: str) -> None:
    before = digest(copy)
    edit(copy / file, old, new)
    assert digest(copy) != before


def test_what_says_something_alone_does_not(copy: Path) -> None:
    before = digest(copy)
    edit(copy / "model/missrec.py", '"""MISSRec:', '"""Reads better now. MISSRec:')
    edit(copy / "model/missrec.py", "# never drawn", "# not these")
    edit(copy / "cli.py", "Train and evaluate", "Evaluate and train")
    edit(copy / "files.py", "os.replace(", "os.rename(")
    assert digest(copy) == before


def test_a_model_is_not_touched_by_another(copy: Path) -> None:
    others = (None, "recbole_missrec.model.unisrec")
    before = [digest(copy, module) for module in others]
    edit(copy / "model/missrec.py", "F.normalize(", "F.normalize(2 * ")
    assert [digest(copy, module) for module in others] == before
