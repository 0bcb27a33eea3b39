"""A data set of a million items: one epoch within a bound on memory."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.faults.jobs import command, log_of
from recbole_missrec.data.features import write_features

USERS, DIM = 2_000, 4
OPTIONS = ["--dataset=large", "--data_path=.", "--modalities=[text]", "--hidden_size=16"]
OPTIONS += ["--n_heads=2", "--inner_size=16", "--softmax=sampled", "--interest_method=kmeans"]
OPTIONS += ["--interest_ratio=1e-5", "--max_train_prefixes=5", "--epochs=1", "--state=warning"]
OPTIONS += ["--show_progress=False", "--checkpoint_dir=saved", "--result_file=r.json"]


def large(folder: Path, items: int, limit_gib: float) -> dict[str, Any]:
    """Train one epoch on generated items, each in one history.

    Args:
        folder: made if need be; its data set is kept.
        items: how many.
        limit_gib: of the peak memory.

    Returns:
        A row: peak memory, exit status, figures.
    """
    shop = folder / "large"
    shop.mkdir(parents=True, exist_ok=True)
    tokens = np.char.mod("i%d", np.arange(items))
    order = np.random.default_rng(0).permutation(items)
    rows = {
        "user_id:token": np.arange(items) % min(USERS, items // 5),
        "item_id:token": tokens[order],
    }
    rows["timestamp:float"] = np.arange(items)
    pd.DataFrame(rows).to_csv(shop / "large.inter", sep="\t", index=False)
    matrix = np.random.default_rng(1).normal(size=(items, DIM)).astype(np.float32)
    write_features(shop / "large.text.safetensors", tokens.tolist(), matrix, "random")
    start = time.perf_counter()
    status = command("recbole_missrec", OPTIONS, folder).wait()
    row = {"status": status, "seconds": time.perf_counter() - start}
    if status:
        return {**row, "same": False, "said": log_of(folder).read_text()[-500:]}
    result = json.loads((folder / "r.json").read_text(encoding="utf-8"))
    gib = result["peak_memory_mib"] / 1024
    return {**row, "peak_gib": gib, "interests": result["interests"], "same": gib < limit_gib}
