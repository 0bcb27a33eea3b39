"""Per-user results in a Parquet file: where each user's target was ranked, in one run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from recbole_missrec.errors import UsageError, nearest
from recbole_missrec.evaluation.ranking import expected_rank, per_row_metric
from recbole_missrec.files import replacing

_SCHEMA = pa.schema(
    [
        pa.field("user", pa.string(), nullable=False),
        pa.field("target", pa.string(), nullable=False),
        pa.field("rank", pa.float64(), nullable=False),
        pa.field("better", pa.int64(), nullable=False),
        pa.field("equal", pa.int64(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
        pa.field("length", pa.int64(), nullable=False),
        pa.field("popularity", pa.int64(), nullable=False),
        pa.field("modalities", pa.string(), nullable=False),
        pa.field("category", pa.string()),
    ]
)
_METADATA = ("model", "dataset", "seed")


def write_per_user(
    path: str | Path, columns: Mapping[str, Any], *, model: str, dataset: str, seed: int
) -> None:
    """Write one row per evaluated user.

    Args:
        path: the Parquet file.
        columns: name -> ``[rows]``. Raw tokens ``user`` and ``target``; int64 tensors ``better``,
            the candidates scored above the target, and ``equal``, the others with its score;
            ``score`` of the target; ``length``, the user's interactions before it;
            ``popularity``, its occurrences in the training part; ``modalities`` of which it has
            features, with commas between; ``category``, None where not known.
        model: name of the model, kept in the file's metadata, as are the next two.
        dataset: name of the data set.
        seed: seed of the run.

    Raises:
        UsageError: the file cannot be written there, or a user has a target twice.
    """
    check_pairs(path, columns["user"], columns["target"])
    ranks = expected_rank(columns["better"], columns["equal"])  # [rows]
    metadata = {"model": model, "dataset": dataset, "seed": str(seed)}
    arrays = {
        name: column.cpu().numpy() if isinstance(column, torch.Tensor) else column
        for name, column in {**columns, "rank": ranks}.items()
    }
    table = pa.table(arrays, schema=_SCHEMA.with_metadata(metadata))
    with replacing(Path(path)) as temporary:
        pq.write_table(table, temporary)


ONE_TARGET = (
    "--per_user: needs a ranking metric and one target a row, as with the default eval_args"
)


def check_pairs(path: str | Path, users: Sequence[str], targets: Sequence[str]) -> None:
    """See that no user has a target in two rows, which could not be paired with another model's.

    Args:
        path: of the file that is to hold them.
        users: raw token of each row.
        targets: raw token of each row.

    Raises:
        UsageError: one has.
    """
    pairs = pd.MultiIndex.from_arrays([users, targets])
    if not pairs.is_unique:
        user, target = pairs[pairs.duplicated()][0]
        raise UsageError(
            f"--per_user={path}: user '{user}' has the target '{target}' in two rows, which cannot "
            "be paired with those of another model; split by --eval_args={split: {LS: "
            "valid_and_test}}, or leave it out"
        )


def read_per_user(path: str | Path) -> pd.DataFrame:
    """Read what `write_per_user` wrote.

    Args:
        path: the Parquet file.

    Returns:
        The columns of `write_per_user` and rank (float64, the expected rank from 1): user, target,
        modalities, category (str), better, equal, length, popularity (int64), score (float64);
        ``attrs`` has model, dataset and seed, all str.

    Raises:
        UsageError: there is no such file, or it is not a table of per-user results.
    """
    path = Path(path)
    table = _read_table(path)
    metadata = table.schema.metadata or {}
    for what, wanted, found in (
        ("column", _SCHEMA.names, table.column_names),
        ("metadata", _METADATA, [key.decode() for key in metadata]),
    ):
        missing = [name for name in wanted if name not in found]
        if missing:
            raise UsageError(
                f"{path}: no {what} {', '.join(missing)}, not a file of per-user results; "
                f"it has {', '.join(found) or 'none'}"
            )
    try:
        frame = table.select(_SCHEMA.names).cast(_SCHEMA).to_pandas()
    except (ValueError, pa.ArrowException) as error:
        raise UsageError(f"{path}: a column has the wrong type: {error}") from error
    if frame.empty:
        raise UsageError(f"{path}: no rows")
    if (frame[["better", "equal"]] < 0).any(axis=None):
        raise UsageError(f"{path}: negative counts in better or equal")
    repeated = int(frame.duplicated(["user", "target"]).sum())
    if repeated:
        raise UsageError(f"{path}: {repeated} rows repeat the user and target of another row")
    frame.attrs = {key: metadata[key.encode()].decode() for key in _METADATA}
    return frame


def per_user_metric(tables: Sequence[pd.DataFrame], metric: str, k: int) -> pd.DataFrame:
    """One metric of the same users and targets in several runs.

    Args:
        tables: of `read_per_user`, in any order of the rows.
        metric: name of a metric, in any case.
        k: length of the recommended list.

    Returns:
        A row for each (user, target), which is its index; a column for each table, by number.

    Raises:
        UsageError: the tables are not of the same users and targets; no such metric, or k out of
            range.
    """
    columns = [
        pd.Series(
            per_row_metric(
                torch.from_numpy(table["better"].to_numpy(copy=True)),
                torch.from_numpy(table["equal"].to_numpy(copy=True)),
                metric,
                k,
            ).numpy(),
            index=pd.MultiIndex.from_frame(table[["user", "target"]]),
        )
        for table in tables
    ]
    paired = pd.concat(columns, axis=1)  # a missing pair is NaN
    unpaired = int(paired.isna().any(axis=1).sum())
    if unpaired:
        raise UsageError(
            f"the results are not of the same users and targets: {unpaired} of {len(paired)} "
            "(user, target) pairs are missing from one file or more"
        )
    return paired


def _read_table(path: Path) -> pa.Table:
    if not path.is_file():
        others = [other.name for other in path.parent.glob("*.parquet")]
        hint = f": {nearest(path.name, others)}" if others else ""
        raise UsageError(f"{path}: no such file{hint}")
    try:
        with path.open("rb") as file:
            return pq.read_table(file)
    except (OSError, pa.ArrowException) as error:
        raise UsageError(f"{path}: not a readable Parquet file: {error}") from error
