"""The command ``export``: item and sequence vectors, indexes and the user side, for other programs.

Rows of items are those of the catalogue, whose meaning never changes: an export after items were
added has the same rows, and more.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from pyarrow import parquet
from safetensors import SafetensorError
from safetensors.torch import save_file

from recbole_missrec.errors import UsageError
from recbole_missrec.files import check_writable, replacing, write_json
from recbole_missrec.model.missrec import MISSRec
from recbole_missrec.serving.commands import SCORING, options_of
from recbole_missrec.serving.export_users import (
    encode_lines,
    lists,
    write_sequences,
    write_user_side,
)
from recbole_missrec.serving.recommender import Recommender
from recbole_missrec.serving.scoring import FusedScorer
from recbole_missrec.words import say


def export(checkpoint: str, options: Mapping[str, str]) -> None:
    """Write the files of a model into a folder, a card beside each.

    Time grows as the catalogue, its index and the users; memory as the vectors of items and users,
    twice.

    Args:
        checkpoint: path of a best checkpoint.
        options: of the command line, values as text.

    Raises:
        UsageError: bad input, or a package is missing; see the help of the command.
    """
    given, others = options_of("export", options, {"out": "", "users": ""}, SCORING)
    if not given["out"]:
        raise UsageError("export: --out=FOLDER is missing")
    for module, package in (("faiss", "faiss-cpu"), ("onnx", "onnx"), ("onnxruntime",) * 2):
        if find_spec(module) is None:
            raise UsageError(f"export: needs {module}; `pip install {package}`")
    out = Path(given["out"])
    check_writable(out / "items.parquet")
    recommender = Recommender.load(checkpoint, others)
    origin = {"checkpoint": Path(checkpoint).name, "model": type(recommender.scorer.model).__name__}
    origin |= {"dataset": recommender.config["dataset"]}
    say("items")
    scoring = how_scored(recommender.scorer)
    write_json(out / "items.json", origin | write_items(recommender, out) | scoring)
    say("sequences")
    users = Path(given["users"]) if given["users"] else None
    write_json(out / "sequences.json", origin | write_sequences(recommender, users, out) | scoring)
    say("indexes")
    write_json(out / "indexes.json", origin | write_indexes(recommender, out) | scoring)
    say("the user side")
    write_json(out / "user_side.json", origin | write_user_side(recommender, out))
    print(out)


def how_scored(scorer: Any) -> dict[str, Any]:
    """How scores are computed from the vectors: formulas and their constants, for a card."""
    model = scorer.model
    constants: dict[str, Any] = {"temperature": scorer.temperature}
    if model.history_bias is not None:
        constants["history_bias"] = model.history_bias.weight.tolist()
    if isinstance(scorer, FusedScorer):
        fusion = model.fusion
        logits = "alpha s_m), alpha of each item where it is a column"
        if fusion.gate is None:
            alpha = torch.as_tensor(fusion.alphas(slice(None)))
            constants["alpha"] = "column alpha" if alpha.dim() else alpha.item()
        else:
            logits = "gate_m . u + gate_bias_m)"
            constants |= {"gate": fusion.gate.tolist(), "gate_bias": fusion.gate_bias.tolist()}
        content = (
            "s_m = u . v_m for each modality m that the item has; w = softmax over these of "
            f"({logits}; content = sum of w_m s_m"
        )
        if fusion.lacking is not None:
            constants["lacking"] = fusion.lacking.tolist()
            content += " + sum of lacking_m for each modality m that it lacks"
        constants["lowest"] = float(model.lowest_cosine())
        if model.item_embedding is None:
            formula = f"{content}, lowest without any modality; score = content / temperature"
        else:
            constants["id_weight"] = model.options["id_weight"]
            formula = (
                f"{content}, a sum of nothing being 0; score = (u . v_id + id_weight content) / "
                "(1 + id_weight) / temperature; without v_id, score = content / temperature, "
                "lowest / temperature without any modality either"
            )
        if model.options["unseen_bias"]:
            constants["unseen_bias"] = model.options["unseen_bias"]
            formula += "; where column unseen, with a modality, + unseen_bias / temperature"
    else:
        formula = "score = u . v, u being over the temperature already"
        if model.temperature and model.item_embedding is None:
            constants["null"] = float(model.lowest_cosine() / model.temperature)
            formula += "; null where the vector is null"
    if "history_bias" in constants:
        formula += (
            "; for an item of the history + history_bias[0] / temperature, for its last item "
            "+ history_bias[1] / temperature as well"
        )
    return {"score": formula, "constants": constants}


@torch.no_grad()
def write_items(recommender: Recommender, out: Path) -> dict[str, Any]:
    """``items.safetensors`` and ``items.parquet``; gives their card."""
    scorer, catalogue, model = recommender.scorer, recommender.catalogue, recommender.scorer.model
    rows = slice(1, len(catalogue))  # without the padding
    parts = zip(scorer.names, scorer.parts, strict=True)
    tensors = {name: part[rows].float().cpu() for name, part in parts}
    table: dict[str, Any] = {
        "row": pa.array(np.arange(1, len(catalogue))),
        "item": pa.array(catalogue.tokens[rows], pa.string()),
        "offered": pa.array(catalogue.offered[rows].numpy()),
    }
    for name, vectors in tensors.items():
        table[name] = lists(vectors, vectors.any(1))
    if isinstance(model, MISSRec):
        tensors["history"] = model.history_inputs(model.item_table())[rows].float().cpu()
        tensors["slots"] = model.slots[rows].cpu()
        tensors["interests"] = model.interest_ids[rows].cpu()
        alpha = torch.as_tensor(model.fusion.alphas(rows))
        if alpha.dim():
            tensors["alpha"] = alpha.float().cpu()
            table["alpha"] = pa.array(tensors["alpha"].numpy())
    else:
        tensors["history"] = model.item_table()[0][rows].float().cpu().clone()
    if isinstance(model, MISSRec) and model.options["unseen_bias"]:
        tensors["unseen"] = model.unseen[rows].cpu()
        table["unseen"] = pa.array(tensors["unseen"].numpy())
    shapes = {name: list(tensor.shape) for name, tensor in tensors.items()}
    tensors |= {"tokens": encode_lines(catalogue.tokens[rows]), "offered": catalogue.offered[rows]}
    with replacing(out / "items.safetensors", SafetensorError) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary)
    with replacing(out / "items.parquet") as temporary:
        parquet.write_table(pa.table(table), temporary)
    if isinstance(scorer, FusedScorer):
        length = "length 1, zero (null in Parquet) where absent"
    else:
        length = "length 1" if model.temperature else "none"
    return {
        "files": ["items.safetensors", "items.parquet"],
        "rows": "of the catalogue, from 1: the first of each tensor and of the lines of `tokens`",
        "shapes": shapes,
        "vectors": scorer.names,
        "normalisation": length,
        "interests": f"of each modality, {len(model.centroids) - 1} for none"
        if isinstance(model, MISSRec)
        else None,
        "history": "what an item adds to a history, input of user_side.onnx, not normalised",
    }


def write_indexes(recommender: Recommender, out: Path) -> dict[str, Any]:
    """A faiss index for each view of the items; gives their card."""
    import faiss

    from recbole_missrec.serving.approximate import Index

    scorer = recommender.scorer
    index = Index(scorer.views(), recommender.catalogue.offered, scorer.raised)
    for name, file in index.files.items():
        with replacing(out / f"{name}.faiss", RuntimeError) as temporary:
            faiss.write_index(file, str(temporary))
    first = next(iter(index.files.values()))
    return {
        "files": [f"{name}.faiss" for name in index.files],
        "ids": "rows of the offered items, see items.json",
        "shapes": {name: [file.ntotal, file.d] for name, file in index.files.items()},
        "metric": "inner product",
        "lists": first.nlist,
        "lists looked into": first.nprobe,
        "use": "take candidates of every index for a sequence embedding u and score them exactly",
    }
