"""A ratio that was lost is seen; one that is only a little worse is not."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.guard import comparison, ratios, read_ratios
from benchmarks.train_epoch import main
from recbole_missrec.errors import UsageError

RESULT: dict[str, Any] = {
    "padded_over_missrec": {"train_seconds": 30.0, "evaluate_seconds": 20.0, "memory_mib": 7.0},
    "step": {"whole step": {"gflop": 30.0, "floor_ms": 150.0, "measured_ms": 300.0}},
}


def test_ratios_of_a_result(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(RESULT))
    assert read_ratios(path) == ratios(RESULT)
    assert list(ratios(RESULT).values()) == [30, 20, 7, 0.5]


def test_what_is_lost() -> None:
    earlier = ratios(RESULT)
    assert comparison(earlier, earlier)[1] == []
    training, evaluation, memory, step = earlier
    now = {training: 23, evaluation: 14.9, memory: 70, step: 0.374}
    table, lost = comparison(now, earlier)
    assert lost == [evaluation, step]
    assert table.splitlines()[2].split()[-3:] == ["30.00", "23.00", "0.77"]


def test_file_that_is_none_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bench.json"
    for content in ("[", "[]", "{}", "3"):
        path.write_text(content)
        with pytest.raises(UsageError, match="is not what --out writes"):
            read_ratios(path)
    assert main(["--against", str(tmp_path / "none.json")]) == 2
    assert capsys.readouterr().err.startswith("--against: cannot read ")
