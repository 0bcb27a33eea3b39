"""A comparison made by hand: three models, ten users, two seeds, one failure, one run to come."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from recbole_missrec.evaluation.per_user import write_per_user

USERS = 10
NASTY = "<script>alert('x')</script> & a_b | c $1 #2 {z} 50 % \\"


def write_plan(out: Path, runs: Sequence[dict[str, Any]]) -> None:
    content = {"format": "recbole-missrec comparison 1", "runs": list(runs)}
    (out / "plan.json").write_text(json.dumps(content))


def planned(label: str, seed: int, digest: str, dataset: str = "shop") -> dict[str, Any]:
    model = label.partition(":")[0]
    return {"label": label, "model": model, "dataset": dataset, "seed": seed, "digest": digest}


def write_run(out: Path, run: dict[str, Any], better: Sequence[int], **more: Any) -> dict[str, Any]:
    """Write the result of a planned run, with ``better`` candidates above each user's target."""
    result = {
        **run,
        "valid": {"ndcg@10": 0.5},
        "test": {},
        "best_epoch": 1,
        "epochs": 2,
        "seconds_per_epoch": 2.0,
        "peak_memory_mib": 1234.4,
        "parameters": {"trainable": 1000, "total": 2000},
        "counts": {"users": len(better), "items": 40, "interactions": 99},
        "versions": {"python": "3.11.7", "torch": "2.13.0"},
        "config": {"seed": run["seed"], "epochs": 2, "result_file": f"{run['digest']}.json"},
        "seconds": 5.0,
        "curve": [
            {"epoch": 0, "seconds": 1.5, "loss": 0.75, "valid": {"ndcg@10": 0.25}},
            {"epoch": 1, "seconds": 2.5, "loss": 0.5, "valid": None},
        ],
        "beyond_accuracy": {"coverage@10": 0.5, "novelty@10": 9.25},
        "machine": {"cpu": "AMD EPYC", "threads": 1},
        **more,
    }
    (out / f"{run['digest']}.json").write_text(json.dumps(result))
    rows = range(len(better))
    columns = {
        "user": [f"u{row}" for row in rows],
        "target": [f"i{row % 4}" for row in rows],
        "better": torch.tensor(better),
        "equal": torch.zeros(len(better), dtype=torch.int64),
        "score": torch.zeros(len(better), dtype=torch.float64),
        "length": torch.tensor([2 + row // 5 for row in rows]),
        "popularity": torch.tensor([row % 4 for row in rows]),
        "modalities": ["text,image" if row % 4 else "text" for row in rows],
        "category": [None for _ in rows],
    }
    names = {"model": run["model"], "dataset": run["dataset"], "seed": run["seed"]}
    write_per_user(out / f"{run['digest']}.parquet", columns, **names)
    return result


def write_comparison(out: Path) -> None:
    """MISSRec hits all users at seed 1 and eight at seed 2, SASRec five, Pop none within ten.

    What is missed has 20 candidates above it: rank 21, within the first fifty.
    """
    runs = [
        planned("MISSRec", 1, "a1"),
        planned("MISSRec", 2, "a2"),
        planned("SASRec", 1, "b1"),
        planned("Pop", 1, "c1"),
        planned("GRU4Rec", 1, "d1"),
        planned("GRU4Rec", 2, "d2"),
    ]
    write_plan(out, runs)
    options = {"epochs": 2, "modalities": ["text", "image"], "dropout": 0.5}
    for seed, missed in ((1, 0), (2, 2)):
        config = {**options, "seed": seed, "result_file": f"{seed}.json"}
        better = [0] * (USERS - missed) + [20] * missed
        write_run(out, runs[seed - 1], better, config=config, seconds=4.0 + seed)
    write_run(out, runs[2], [0] * 5 + [20] * 5, parameters={"trainable": 50_000, "total": 50_000})
    free: dict[str, Any] = {
        "curve": [],
        "epochs": None,
        "seconds_per_epoch": None,
        "beyond_accuracy": None,
    }
    write_run(out, runs[3], [20] * USERS, **free)
    error = {**runs[4], "status": 2, "error": f"recbole-missrec: --hidden_size=7: {NASTY}\n"}
    (out / "d1.error.json").write_text(json.dumps(error))
