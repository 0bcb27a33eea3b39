"""The examples in docstrings give what stands below them."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WITH_EXAMPLES = [
    path.relative_to(ROOT)
    for package in ("recbole_missrec", "dataset_builders")
    for path in sorted((ROOT / package).rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=str)
def test_examples_of_docstrings(path: Path) -> None:
    module = importlib.import_module(".".join(path.with_suffix("").parts))
    examples = doctest.testmod(module)
    assert examples.attempted > 0
    assert examples.failed == 0
