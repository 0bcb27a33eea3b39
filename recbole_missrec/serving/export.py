"""The command ``export``: item and sequence vectors, indexes and the user side, for other programs.

Rows of items are those of the catalogue, whose meaning never changes: an export after items were
added has the same rows, and more.
"""

import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from pyarrow import parquet
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from recbole_missrec.comparison.words import say
from recbole_missrec.errors import UsageError
from recbole_missrec.files import check_writable, replacing
from recbole_missrec.model.missrec import MISSRec
from recbole_missrec.quick_start import write_json
from recbole_missrec.serving.commands import options_of
from recbole_missrec.serving.recommender import Recommender
from recbole_missrec.serving.scoring import FusedScorer
from recbole_missrec.serving.user_side import make_user_side
from recbole_missrec.serving.users import ROWS, read_users

OPSET = 18
TOLERANCE = 1e-4  # between onnxruntime and torch
EXAMPLES = 64  # sequences that are compared


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
    given, others = options_of("export", options, {"out": "", "users": ""})
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
    if isinstance(scorer, FusedScorer):
        alpha = model.fusion.alpha
        own = alpha is not None and alpha.dim()
        constants["alpha"] = (
            "column alpha" if own else 0.0 if alpha is None else float(alpha.detach())
        )
        content = (
            "s_m = u . v_m for each modality m that the item has; w = softmax over these of "
            "(alpha s_m), alpha of each item where it is a column; content = sum of w_m s_m"
        )
        if model.item_embedding is None:
            formula = f"{content}, -1 without any modality; score = content / temperature"
        else:
            constants["id_weight"] = model.options["id_weight"]
            formula = (
                f"{content}, 0 without any modality; score = (u . v_id + id_weight content) / "
                "(1 + id_weight) / temperature; without v_id, score = content / temperature"
            )
        if model.history_bias is not None:
            constants["history_bias"] = model.history_bias.weight.tolist()
    else:
        formula = "score = u . v, u being over the temperature already"
        if model.history_bias is not None:
            constants["history_bias"] = model.history_bias.weight.tolist()
    if "history_bias" in constants:
        formula += (
            "; for an item of the history + history_bias[0] / temperature, for its last item "
            "+ history_bias[1] / temperature as well"
        )
    return {"score": formula, "constants": constants}


def encode_lines(tokens: np.ndarray) -> Tensor:
    """Tokens as uint8, UTF-8, one a line."""
    return torch.from_numpy(np.frombuffer(bytearray("\n".join(tokens).encode()), np.uint8))


def lists(vectors: Tensor, there: Tensor) -> pa.Array:
    """A column of vectors ``[rows, dim]``, null where they are not there, bool ``[rows]``."""
    ends = np.pad(there.long().cumsum(0).numpy() * vectors.shape[1], (1, 0)).astype(np.int64)
    values = pa.array(vectors[there].flatten().numpy())
    mask = pa.array(~there.numpy())
    return pa.LargeListArray.from_arrays(ends, values, mask=mask)


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
        alpha = model.fusion.alpha
        if alpha is not None and alpha.dim():
            tensors["alpha"] = alpha[rows].float().cpu()
            table["alpha"] = pa.array(tensors["alpha"].numpy())
    else:
        tensors["history"] = model.item_table()[0][rows].float().cpu().clone()
    shapes = {name: list(tensor.shape) for name, tensor in tensors.items()}
    tensors |= {"tokens": encode_lines(catalogue.tokens[rows]), "offered": catalogue.offered[rows]}
    with replacing(out / "items.safetensors") as temporary:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary)
    with replacing(out / "items.parquet") as temporary:
        parquet.write_table(pa.table(table), temporary)
    if isinstance(scorer, FusedScorer):
        length = "length 1, zero (null in Parquet) where absent"
    else:
        length = "length 1" if model.temperature else "none"
    return {
        "files": ["items.safetensors", "items.parquet"],
        "rows": "of the catalogue, from 1; line n of `tokens` is row n + 1, `row` in Parquet",
        "shapes": shapes,
        "vectors": scorer.names,
        "normalisation": length,
        "interests": f"of each modality, {len(model.centroids) - 1} for none"
        if isinstance(model, MISSRec)
        else None,
        "history": "what an item adds to a history, input of user_side.onnx, not normalised",
    }


def write_sequences(recommender: Recommender, users: Path | None, out: Path) -> dict[str, Any]:
    """``sequences.safetensors`` and ``.parquet``, of a file's users or all; gives their card."""
    everyone = recommender.users.place.tokens[1:]
    parts = (
        read_users(users)
        if users
        else (
            pa.table({"user": some, "history": pa.nulls(len(some), pa.list_(pa.string()))})
            for some in (everyone[n : n + ROWS] for n in range(0, len(everyone), ROWS))
        )
    )
    names: list[str | None] = []
    found: list[Tensor] = []
    schema = pa.schema(
        {
            "user": pa.string(),
            "history": pa.list_(pa.string()),
            "embedding": pa.large_list(pa.float32()),
        }
    )
    with (
        replacing(out / "sequences.parquet") as temporary,
        parquet.ParquetWriter(temporary, schema) as file,
        tqdm(unit=" users", disable=None, leave=False) as bar,
    ):
        for part in parts:
            histories = recommender.requested(part)
            known = histories.lengths > 0
            embeddings = torch.zeros(len(known), recommender.scorer.parts[0].shape[1])
            if known.any():
                some = histories.take(known.nonzero().squeeze(1))
                embeddings[known] = recommender.scorer.embed(some).float().cpu()
            read = histories.items[histories.items > 0]
            ends = np.pad(histories.lengths.cumsum(0).numpy(), (1, 0)).astype(np.int32)
            tokens = pa.array(recommender.catalogue.tokens[read], pa.string())
            columns = [
                part["user"].combine_chunks(),
                pa.ListArray.from_arrays(ends, tokens),
                lists(embeddings, known),
            ]
            file.write_table(pa.table(columns, schema=schema))
            names += part["user"].to_pylist()
            found.append(embeddings)
            bar.update(len(part))
    together = torch.cat(found)
    lines = encode_lines(np.array([name or "" for name in names], object))
    with replacing(out / "sequences.safetensors") as temporary:
        save_file({"users": lines, "embeddings": together}, temporary)
    fused = isinstance(recommender.scorer, FusedScorer)
    return {
        "files": ["sequences.safetensors", "sequences.parquet"],
        "shapes": {"embeddings": list(together.shape)},
        "rows": "line n of `users`; `history` in Parquet: the known items that were read",
        "normalisation": ("length 1" if fused else "none, over the temperature")
        + "; zero (null in Parquet) where nothing is known of a history",
    }


def write_indexes(recommender: Recommender, out: Path) -> dict[str, Any]:
    """A faiss index for each view of the items; gives their card."""
    import faiss

    from recbole_missrec.serving.approximate import Index

    index = Index(recommender.scorer.views(), recommender.catalogue.offered)
    for name, file in index.files.items():
        with replacing(out / f"{name}.faiss") as temporary:
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


@torch.no_grad()
def write_user_side(recommender: Recommender, out: Path) -> dict[str, Any]:
    """``user_side.onnx``, compared with torch; gives its card.

    Raises:
        UsageError: onnxruntime computes something else.
    """
    import onnxruntime

    model = recommender.scorer.model
    side = make_user_side(model).cpu().eval()
    everyone = recommender.users.place.tokens[1 : EXAMPLES + 1].tolist()
    histories = recommender.users.histories(everyone, recommender.longest)
    items, lengths = histories.items, histories.lengths
    if isinstance(model, MISSRec):
        vectors = model.history_inputs(model.item_table(items.flatten()))
        arguments = {
            "vectors": vectors.view(*items.shape, -1),
            "slots": model.slots[items],
            "interests": model.interest_ids[items],
            "lengths": lengths,
        }
    else:
        arguments = {"vectors": model.item_table()[0][items], "lengths": lengths}
    axes = {name: {0: "batch", 1: "length"} for name in arguments} | {"lengths": {0: "batch"}}
    with replacing(out / "user_side.onnx") as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # this exporter is deprecated; the other takes a minute
        torch.onnx.export(
            side,
            tuple(arguments.values()),
            str(temporary),
            input_names=list(arguments),
            output_names=["u"],
            dynamic_axes={**axes, "u": {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
        )
        session = onnxruntime.InferenceSession(str(temporary))
        fed = [entry.name for entry in session.get_inputs()]
        (found,) = session.run(None, {name: arguments[name].numpy() for name in fed})
        apart = float(np.abs(found - recommender.scorer.embed(histories).numpy()).max())
        if not apart <= TOLERANCE:
            raise UsageError(f"export: onnxruntime differs from torch by {apart:.1e}")
    return {
        "files": ["user_side.onnx"],
        "inputs": {
            name: [str(axis) for axis in ("batch", "length")][: arguments[name].dim()]
            + list(arguments[name].shape[2:])
            for name in fed
        },
        "output": {"u": ["batch", found.shape[1]]},
        "reads": "rows `history`, `slots` and `interests` of items.safetensors, oldest item first, "
        f"at most {recommender.longest} items; what is beyond `lengths` is not read",
        "normalisation": "as in sequences.json",
        "largest difference from torch": apart,
    }
