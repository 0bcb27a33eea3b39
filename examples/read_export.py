"""Recommend from an export with faiss, pyarrow and numpy alone, as its cards say.

python examples/read_export.py FOLDER USER [K]
"""

import json
import sys
from pathlib import Path

import faiss
import numpy as np
import pyarrow.parquet as pq

folder, user, k = Path(sys.argv[1]), sys.argv[2], int((sys.argv[3:] or ["10"])[0])
card = json.loads((folder / "indexes.json").read_text())
constants, parts = card["constants"], json.loads((folder / "items.json").read_text())["vectors"]

(sequence,) = pq.read_table(folder / "sequences.parquet", filters=[("user", "=", user)]).to_pylist()
u = np.array(sequence["embedding"], np.float32)

found = [faiss.read_index(str(folder / name)).search(u[None], 200)[1] for name in card["files"]]
rows = np.unique(np.concatenate(found, 1))
rows = rows[rows > 0]
table = pq.read_table(folder / "items.parquet")
items = table.take(rows - 1).to_pylist()
read = set(sequence["history"])
items += [item for item in table.to_pylist() if item["item"] in read and item["row"] not in rows]


def score(item: dict) -> float:
    """As the card's `score` says."""
    dots = {name: float(u @ np.float32(item[name])) for name in parts if item[name]}
    if parts == ["vector"]:
        total = dots.get("vector", constants.get("null", 0.0))
    else:
        own = np.array([value for name, value in dots.items() if name != "id"])
        if "gate" in constants:
            gates = zip(parts, constants["gate"], constants["gate_bias"], strict=False)
            logits = [u @ np.float32(gate) + bias for name, gate, bias in gates if name in dots]
        else:
            logits = (item["alpha"] if "alpha" in item else constants["alpha"]) * own
        weights = np.exp(logits)
        content = float(weights @ own / weights.sum()) if len(own) else 0.0
        lacking = zip(parts, constants.get("lacking", ()), strict=False)
        content += sum(number for name, number in lacking if name not in dots)
        if "id" in dots:
            total = (dots["id"] + constants["id_weight"] * content) / (1 + constants["id_weight"])
        else:
            total = content if dots else constants["lowest"]
        if "unseen_bias" in constants and item["unseen"] and dots:
            total += constants["unseen_bias"]
        total /= constants["temperature"]
    any_item, last_item = constants.get("history_bias", (0, 0))
    total += any_item / constants["temperature"] * (item["item"] in read)
    return total + last_item / constants["temperature"] * (item["item"] == sequence["history"][-1])


best = sorted(((score(item), item["item"]) for item in items if item["offered"]), reverse=True)[:k]
print(json.dumps({"user": user, "items": [i for _, i in best], "scores": [s for s, _ in best]}))
