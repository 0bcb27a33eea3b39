"""Per-user results in a Parquet file: where each user's target was ranked, in one run."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor

from recbole_missrec.errors import UsageError, nearest
from recbole_missrec.evaluation.ranking import expected_rank
from recbole_missrec.files import replacing

_SCHEMA = pa.schema(
    [
        pa.field("user", pa.string(), nullable=False),
        pa.field("target", pa.string(), nullable=False),
        pa.field("rank", pa.float64(), nullable=False),
        pa.field("better", pa.int64(), nullable=False),
        pa.field("equal", pa.int64(), nullable=False),
    ]
)
_METADATA = ("model", "dataset", "seed")


def write_per_user(
    path: str | Path,
    users: Sequence[str],
    targets: Sequence[str],
    better: Tensor,
    equal: Tensor,
    *,
    model: str,
    dataset: str,
    seed: int,
) -> None:
    """Write one row per evaluated user.

    Args:
        path: the Parquet file.
        users: raw user tokens, ``[rows]``.
        targets: raw token of each user's target item, ``[rows]``.
        better: candidates scored above the target, ``[rows]``, int64.
        equal: other candidates with its score, ``[rows]``, int64.
        model: name of the model, kept in the file's metadata, as are the next two.
        dataset: name of the data set.
        seed: seed of the run.

    Raises:
        UsageError: the file cannot be written there.
    """
    columns = {
        "user": users,
        "target": targets,
        "rank": expected_rank(better, equal).cpu().numpy(),
        "better": better.cpu().numpy(),
        "equal": equal.cpu().numpy(),
    }
    metadata = {"model": model, "dataset": dataset, "seed": str(seed)}
    table = pa.table(columns, schema=_SCHEMA.with_metadata(metadata))
    with replacing(Path(path)) as temporary:
        pq.write_table(table, temporary)


def read_per_user(path: str | Path) -> pd.DataFrame:
    """Read what `write_per_user` wrote.

    Args:
        path: the Parquet file.

    Returns:
        Columns user, target (str), rank (float64, the expected rank from 1), better, equal
        (int64); ``attrs`` has model, dataset and seed, all str.

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
