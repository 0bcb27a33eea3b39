"""What ``export`` writes of users: embeddings of histories, and what computes them."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from pyarrow import parquet
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from recbole_missrec.errors import UsageError
from recbole_missrec.files import replacing
from recbole_missrec.model.missrec import MISSRec
from recbole_missrec.serving.recommender import Recommender
from recbole_missrec.serving.scoring import FusedScorer
from recbole_missrec.serving.user_side import make_user_side
from recbole_missrec.serving.users import ROWS, read_users

OPSET = 18
TOLERANCE = 1e-4  # between onnxruntime and torch
EXAMPLES = 64  # sequences that are compared


def encode_lines(tokens: np.ndarray) -> Tensor:
    """Tokens as uint8, UTF-8, one a line."""
    return torch.from_numpy(np.frombuffer(bytearray("\n".join(tokens).encode()), np.uint8))


def lists(vectors: Tensor, there: Tensor) -> pa.Array:
    """A column of vectors ``[rows, dim]``, null where they are not there, bool ``[rows]``."""
    ends = np.pad(there.long().cumsum(0).numpy() * vectors.shape[1], (1, 0)).astype(np.int64)
    values = pa.array(vectors[there].flatten().numpy())
    mask = pa.array(~there.numpy())
    return pa.LargeListArray.from_arrays(ends, values, mask=mask)


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
    with replacing(out / "sequences.safetensors", SafetensorError) as temporary:
        save_file({"users": lines, "embeddings": together}, temporary)
    fused = isinstance(recommender.scorer, FusedScorer)
    return {
        "files": ["sequences.safetensors", "sequences.parquet"],
        "shapes": {"embeddings": list(together.shape)},
        "rows": "line n of `users`; `history` in Parquet: the known items that were read",
        "normalisation": ("length 1" if fused else "none, over the temperature")
        + "; zero (null in Parquet) where nothing is known of a history",
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
