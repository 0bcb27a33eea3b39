"""Files of per-user results: written whole, read with care."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from recbole_missrec.errors import UsageError
from recbole_missrec.evaluation.per_user import read_per_user, write_per_user
from recbole_missrec.files import replacing

COLUMNS: dict[str, list] = {
    "user": ["u1", "u2"],
    "target": ["i7", "i7"],
    "rank": [1.0, 4.5],
    "better": [0, 3],
    "equal": [0, 1],
    "score": [0.5, -2.25],
    "length": [4, 0],
    "popularity": [12, 0],
    "modalities": ["text,image", ""],
    "category": ["Tools", None],
}
METADATA = {"model": "MISSRec", "dataset": "Scientific", "seed": "2020"}


def write(path: Path, users: list[str], better: list[int], equal: list[int]) -> None:
    columns: dict[str, Any] = {
        name: column[: len(users)] for name, column in COLUMNS.items() if name != "rank"
    }
    columns |= {"user": users, "better": torch.tensor(better), "equal": torch.tensor(equal)}
    write_per_user(path, columns, model="MISSRec", dataset="Scientific", seed=2020)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.parquet"
    write(path, ["u1", "u2"], [0, 3], [0, 1])

    table = read_per_user(path)

    assert table.to_dict("list") == COLUMNS
    assert table.attrs == METADATA
    schema = pq.read_schema(path)
    assert [str(kind) for kind in schema.types] == (
        ["string", "string", "double", "int64", "int64"]
        + ["double", "int64", "int64", "string", "string"]
    )
    assert schema.metadata == {key.encode(): value.encode() for key, value in METADATA.items()}


def test_a_target_that_a_user_has_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.parquet"
    columns: dict[str, Any] = {
        name: [column[0]] * 2 for name, column in COLUMNS.items() if name != "rank"
    }
    columns |= {"better": torch.tensor([0, 3]), "equal": torch.tensor([0, 1])}
    with pytest.raises(UsageError, match=f"user 'u1' has the target '{columns['target'][0]}' in"):
        write_per_user(path, columns, model="MISSRec", dataset="Scientific", seed=2020)
    assert not path.exists()


def test_tokens_stay_text(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", ["007", "ü 1"], [0, 0], [0, 0])
    assert read_per_user(tmp_path / "a.parquet")["user"].tolist() == ["007", "ü 1"]


def test_a_second_run_replaces_the_first(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", ["u1"], [5], [0])
    write(tmp_path / "a.parquet", ["u1"], [8], [0])
    assert read_per_user(tmp_path / "a.parquet")["rank"].tolist() == [9]
    assert [file.name for file in tmp_path.iterdir()] == ["a.parquet"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("half of the n")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    path = tmp_path / "file" / "a.parquet"
    with pytest.raises(UsageError) as error:
        write(path, ["u1"], [0], [0])
    assert str(error.value) == f"{path}: cannot be written: File exists"


def test_missing_file_names_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "missrec-2020.parqet"
    with pytest.raises(UsageError) as error:
        read_per_user(path)
    assert str(error.value) == f"{path}: no such file"

    write(tmp_path / "missrec-2020.parquet", ["u1"], [0], [0])
    with pytest.raises(UsageError) as error:
        read_per_user(path)
    assert str(error.value) == f"{path}: no such file: did you mean 'missrec-2020.parquet'?"


def test_not_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write(path, ["u1", "u2"], [0, 3], [0, 1])
    for content in (b"", b"user,target\nu1,i7\n", path.read_bytes()[:-20]):
        path.write_bytes(content)
        with pytest.raises(UsageError) as error:
            read_per_user(path)
        assert str(error.value).startswith(f"{path}: not a readable Parquet file: ")


def without(name: str) -> dict[str, list]:
    return {key: column for key, column in COLUMNS.items() if key != name}


@pytest.mark.parametrize(
    ("columns", "metadata", "message"),
    [
        (without("equal"), METADATA, "no column equal, not a file of per-user results; it has "),
        (COLUMNS, {"model": "SASRec"}, "no metadata dataset, seed, not a file of per-user"),
        (COLUMNS, None, "no metadata model, dataset, seed"),
        (COLUMNS | {"better": [0.5, 1.0]}, METADATA, "a column has the wrong type: "),
        (COLUMNS | {"better": [None, 1]}, METADATA, "a column has the wrong type: "),
        (COLUMNS | {"better": [-1, 1]}, METADATA, "negative counts in better or equal"),
        (COLUMNS | {"modalities": ["text", None]}, METADATA, "a column has the wrong type: "),
        (COLUMNS | {"user": ["u1", "u1"]}, METADATA, "1 rows repeat the user and target of "),
        ({name: [] for name in COLUMNS}, METADATA, "no rows"),
    ],
)
def test_tables_that_are_refused(
    tmp_path: Path, columns: dict[str, list], metadata: dict[str, str] | None, message: str
) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(columns, metadata=metadata), path)
    with pytest.raises(UsageError) as error:
        read_per_user(path)
    assert str(error.value).startswith(f"{path}: {message}")
