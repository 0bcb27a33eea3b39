"""The feature file ``NAME.MODALITY.safetensors``: one matrix, one raw item token per row.

It holds two tensors, ``features`` (float16 or float32 ``[rows, dim]``) and ``tokens`` (uint8, the
UTF-8 of the raw item tokens, one a line), and in its metadata the format, its version, the name of
the encoder, a SHA-256 digest of both tensors and, where a builder made it, one of all that it was
made of. Rows are found by token, never by position.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from recbole_missrec.errors import UsageError
from recbole_missrec.files import replacing

AUGMENTED = "augmented"  # folder of those of word-dropped texts, under the same file names
FORMAT = {"format": "recbole_missrec.features", "version": "1"}
DTYPES = (torch.float16, torch.float32)
DTYPE_NAMES = {torch.float16: "F16", torch.float32: "F32", torch.uint8: "U8"}
_BLOCK = 1 << 16  # rows that are hashed or checked at a time


@dataclass(frozen=True, eq=False)
class FeatureFile:
    """What a feature file holds.

    Attributes:
        path: where it was read from.
        tokens: raw item token of each row.
        matrix: float16 or float32 ``[rows, dim]``, mapped from the file, read when used.
        encoder: name of the encoder that made the features.
        digest: SHA-256 of tokens and features, in hexadecimal.
        made_of: digest of encoder, options, items, texts or pictures; empty where not known.
    """

    path: Path
    tokens: list[str]
    matrix: Tensor
    encoder: str
    digest: str
    made_of: str = ""


def write_features(
    path: str | Path,
    tokens: Sequence[str],
    matrix: Tensor | np.ndarray,
    encoder: str,
    made_of: str = "",
) -> None:
    """Write a feature file; an old one of this name stays whole until the new one is complete.

    Args:
        path: the file.
        tokens: raw item token of each row, unique, without line breaks.
        matrix: float16 or float32 ``[rows, dim]``, finite.
        encoder: name of the encoder.
        made_of: digest of all that the features depend on, by which a builder sees later whether
            they are up to date.

    Raises:
        UsageError: tokens and matrix do not make a valid file.
    """
    path = Path(path)
    features = torch.as_tensor(matrix).detach().cpu().contiguous()
    tokens = list(tokens)
    _check(path, tokens, features)
    encoded = _encode(path, tokens)
    metadata = FORMAT | {"encoder": encoder, "digest": feature_digest(encoded, features)}
    metadata |= {"made_of": made_of} if made_of else {}
    with replacing(path) as temporary:
        _write(temporary, {"features": features, "tokens": encoded}, metadata)


def read_features(path: str | Path) -> FeatureFile:
    """Read a feature file and check it whole, in one pass over its bytes.

    Args:
        path: the file.

    Returns:
        Its content; the matrix stays in the file until it is used.

    Raises:
        UsageError: no such file, or it is damaged or not a feature file.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(
            f"{path}: no such feature file; `python -m dataset_builders --help` lists the commands "
            "that make them"
        )
    try:
        path.open("rb").close()  # safetensors calls a file absent that may not be read
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{path}: truncated, or not a safetensors file ({error})") from error
    for key in (*FORMAT, "encoder", "digest"):
        if key not in metadata:
            raise UsageError(f"{path}: not a feature file: its metadata lacks '{key}'")
    for key, value in FORMAT.items():
        if metadata[key] != value:
            raise UsageError(f"{path}: its {key} is '{metadata[key]}', not '{value}'")
    for name in ("features", "tokens"):
        if name not in tensors:
            raise UsageError(f"{path}: not a feature file: it lacks the tensor '{name}'")
    features, encoded = tensors["features"], tensors["tokens"]
    if encoded.dtype != torch.uint8 or encoded.dim() != 1:
        raise UsageError(f"{path}: 'tokens' must be uint8 [bytes], not {_describe(encoded)}")
    _check_matrix(path, features)
    if metadata["digest"] != feature_digest(encoded, features):
        raise UsageError(f"{path}: damaged: its content does not fit its digest; make it again")
    tokens = _decode(path, encoded)
    _check(path, tokens, features)
    return FeatureFile(
        path, tokens, features, metadata["encoder"], metadata["digest"], metadata.get("made_of", "")
    )


def read_tokens(path: Path) -> list[str]:
    """Raw item tokens of a feature file, without its matrix.

    Raises:
        UsageError: it is damaged or not a feature file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            encoded = file.get_tensor("tokens")
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{path}: not a readable feature file ({error})") from error
    return _decode(path, encoded)


def item_rows(file: FeatureFile, token2id: Mapping[str, int], item_num: int) -> tuple[Tensor, int]:
    """Join feature rows to internal item ids by raw token.

    Args:
        file: a feature file.
        token2id: internal id of each raw token; id 0 is the padding item, which has no features.
        item_num: number of internal ids, the padding included.

    Returns:
        Row of each item, long ``[item_num]``, -1 where absent, and the number of rows whose token
        the data set does not have.

    Raises:
        UsageError: file and data set have no item in common.
    """
    ids = pd.Series(token2id, dtype="int64").reindex(file.tokens, fill_value=0).to_numpy()
    known = np.flatnonzero(ids)
    if not len(known):
        example = next((token for token, item in token2id.items() if item), "")
        raise UsageError(
            f"{file.path}: none of its {len(ids):,} items is in the data set; "
            f"it has '{file.tokens[0]}', the data set '{example}'"
        )
    row = torch.full((item_num,), -1)
    row[ids[known]] = torch.from_numpy(known)
    return row, len(ids) - len(known)


def feature_digest(encoded: Tensor, features: Tensor) -> str:
    """SHA-256 over dtype, shape, tokens and features, a block of rows at a time.

    Args:
        encoded: tokens, uint8 ``[bytes]``.
        features: ``[rows, dim]``.

    Returns:
        The digest in hexadecimal.
    """
    digest = hashlib.sha256(_describe(features).encode())
    digest.update(encoded.numpy().data)
    for block in features.split(_BLOCK):
        digest.update(block.numpy().data)
    return digest.hexdigest()


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write the safetensors format: a length, a header in JSON, the bytes of the tensors.

    The library's own function copies all tensors and orders the metadata at random, so that the
    same features would not give the same file.
    """
    header: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.nbytes
        header[name] = {
            "dtype": DTYPE_NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8 bytes
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            for block in tensor.split(_BLOCK):
                file.write(block.numpy().data)


def _encode(path: Path, tokens: list[str]) -> Tensor:
    broken = next((token for token in tokens if "\n" in token), None)
    if broken is not None:
        raise UsageError(f"{path}: the item token {broken!r} has a line break")
    try:
        return torch.from_numpy(np.frombuffer(bytearray("\n".join(tokens).encode()), np.uint8))
    except UnicodeEncodeError as error:
        raise UsageError(f"{path}: an item token is not valid Unicode ({error})") from error


def _decode(path: Path, encoded: Tensor) -> list[str]:
    try:
        return encoded.numpy().tobytes().decode().split("\n")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: 'tokens' is not UTF-8 ({error})") from error


def _check(path: Path, tokens: list[str], features: Tensor) -> None:
    _check_matrix(path, features)
    if len(tokens) != len(features):
        raise UsageError(f"{path}: {len(tokens):,} item tokens for {len(features):,} feature rows")
    duplicated = pd.Index(tokens).duplicated()
    if duplicated.any():
        raise UsageError(f"{path}: two rows for the item '{tokens[duplicated.argmax()]}'")
    for start in range(0, len(features), _BLOCK):
        finite = features[start : start + _BLOCK].isfinite().all(dim=1)  # [block]
        if not finite.all():
            row = start + int(finite.int().argmin())
            raise UsageError(f"{path}: NaN or infinite values for the item '{tokens[row]}'")


def _check_matrix(path: Path, features: Tensor) -> None:
    if features.dtype not in DTYPES or features.dim() != 2 or not features.numel():
        raise UsageError(
            f"{path}: 'features' must be float16 or float32 [rows, dim], not {_describe(features)}"
        )


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
