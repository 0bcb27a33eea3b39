"""The folder of a comparison, read with care."""

import json
from pathlib import Path
from typing import Any

import pytest

from recbole_missrec.errors import UsageError
from recbole_missrec.report.results import Unfinished, read_results
from tests.report.folders import NASTY, planned, write_comparison, write_plan, write_run


def test_runs_stand_in_the_order_of_the_plan(tmp_path: Path) -> None:
    write_comparison(tmp_path)

    runs, others = read_results(tmp_path)

    found = [(run.label, run.seed) for run in runs]
    assert found == [("MISSRec", 1), ("MISSRec", 2), ("SASRec", 1), ("Pop", 1)]
    error = f"recbole-missrec: --hidden_size=7: {NASTY}"
    assert others == [
        Unfinished("GRU4Rec", "shop", 1, error),
        Unfinished("GRU4Rec", "shop", 2, "not run yet"),
    ]


def test_a_run_as_it_was_written(tmp_path: Path) -> None:
    write_comparison(tmp_path)

    run = read_results(tmp_path)[0][1]

    assert run.users["better"].tolist() == [0] * 8 + [20] * 2
    assert run.curve["seconds"].tolist() == [1.5, 4.0]  # since the start
    assert run.curve["ndcg@10"].dropna().tolist() == [0.25]
    assert run.seconds == 6.0
    assert (run.cost["trainable"], run.cost["total"]) == (1000, 2000)
    assert run.beyond == {"coverage@10": 0.5, "novelty@10": 9.25}
    assert run.counts == {"users": 10, "items": 40, "interactions": 99}
    assert run.environment == {
        "python": "3.11.7", "torch": "2.13.0", "cpu": "AMD EPYC", "threads": "1"
    }  # fmt: skip
    assert run.config["modalities"] == ["text", "image"]


def test_labels_of_equal_options_share_a_run(tmp_path: Path) -> None:
    run = planned("MISSRec", 1, "a1")
    write_run(tmp_path, run, [0, 3])
    write_plan(tmp_path, [run, planned("MISSRec:text_only", 1, "a1")])

    runs, others = read_results(tmp_path)

    assert [found.label for found in runs] == ["MISSRec", "MISSRec:text_only"] and not others
    assert runs[0].users.equals(runs[1].users)


def refused(out: Path) -> str:
    with pytest.raises(UsageError) as error:
        read_results(out)
    return str(error.value)


def test_folders_that_are_none_of_a_comparison(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    assert refused(tmp_path) == f"{path}: cannot be read: No such file or directory"
    for content, reason in [
        ("{", "is not JSON: "),
        ("[]", "holds no object"),
        ('{"format": "other 1"}', "is not the plan of a comparison (format 'recbole-missrec "),
        ('{"format": "recbole-missrec comparison 1"}', "is damaged, or not of a comparison: no '"),
    ]:
        path.write_text(content)
        assert refused(tmp_path).startswith(f"{path}: {reason}")
    path.write_bytes(b"\xff\xfe")
    assert refused(tmp_path).startswith(f"{path}: is not JSON: ")


def test_a_digest_is_no_path(tmp_path: Path) -> None:
    write_plan(tmp_path, [planned("Pop", 1, "../a1")])
    assert refused(tmp_path) == f"{tmp_path / 'plan.json'}: '../a1' is not the digest of a run"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"seed": 3}, "is of another run: its seed is '3', that of the plan '1'"),
        ({"parameters": {}}, "is damaged, or not of a comparison: no 'trainable'"),
        ({"curve": "long"}, "is damaged, or not of a comparison: string indices must be"),
        ({"beyond_accuracy": [1]}, "is damaged, or not of a comparison: 'list' object has no"),
        ({"seconds": None}, "is damaged, or not of a comparison: float() argument must be"),
    ],
)
def test_results_that_are_refused(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    run = planned("Pop", 1, "c1")
    write_plan(tmp_path, [run])
    result = write_run(tmp_path, run, [0, 1])
    path = tmp_path / "c1.json"
    path.write_text(json.dumps({**result, **change}))
    assert refused(tmp_path).startswith(f"{path}: {reason}")


def test_a_result_without_its_users(tmp_path: Path) -> None:
    write_comparison(tmp_path)
    (tmp_path / "b1.parquet").write_bytes(b"PAR1")
    assert refused(tmp_path).startswith(f"{tmp_path / 'b1.parquet'}: not a readable Parquet file")
    (tmp_path / "b1.parquet").unlink()
    assert refused(tmp_path).startswith(f"{tmp_path / 'b1.parquet'}: no such file")


def test_an_error_of_another_run(tmp_path: Path) -> None:
    write_comparison(tmp_path)
    path = tmp_path / "d1.error.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model": "Pop"}))
    assert refused(tmp_path) == (
        f"{path}: is of another run: its model is 'Pop', that of the plan 'GRU4Rec'"
    )
