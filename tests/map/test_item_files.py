"""Titles and pictures: where they are looked for, and files that hold none."""

import base64
import io
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from recbole_missrec.errors import UsageError
from recbole_missrec.map.item_files import find_pictures, find_titles, thumbnails

ITEMS = ["i1", "007", "i3"]


def titles(folder: Path, given: Path | str = "") -> list[str]:
    return find_titles(str(given), "shop", folder, ITEMS)


def test_titles_of_a_data_set_that_was_built(tmp_path: Path) -> None:
    assert titles(tmp_path) == ["", "", ""]
    rows = 'item_id\ttext\n007\tA  "quoted" <b>title</b>\nother\tno item\ni1\tNA\n007\tagain\n'
    (tmp_path / "shop.text.tsv").write_text(rows)
    assert titles(tmp_path) == ["NA", 'A "quoted" <b>title</b>', ""]


def test_titles_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "shop.text.tsv").write_text("item_id\ttext\ni1\tof the data set\n")
    item = tmp_path / "my.item"
    item.write_text("item_id:token\ttitle:token_seq\tyear:float\n007\tBond\t1962\ni3\t\t\n")
    assert titles(tmp_path, item) == ["", "Bond", ""]
    table = tmp_path / "my.parquet"
    pd.DataFrame({"n": [1, 2], "t": ["one", None], "x": [0, 0]}).to_parquet(table)
    assert find_titles(str(table), "shop", tmp_path, ["1", "2"]) == ["one", ""]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", b"", "a.tsv: not a table of item tokens and a column: No columns to parse"),
        ("a.tsv", b"item_id\ni1\n", "a.tsv: not a table of item tokens and a column: Usecols do"),
        ("a.tsv", b"item_id\tt\ni1\t\xff\n", "a.tsv: not a table of item tokens and a column: 'ut"),
        ("a.tsv", b"item_id\tt\nx1\tT\n", "no title for any of the 3 items; it has 'x1', the data"),
        ("a.tsv", b"item_id\tt\n", "no title for any of the 3 items; it has '', the data set 'i1'"),
        ("a.parquet", b"PAR1", "a.parquet: not a table of item tokens and a column: "),
    ],
)
def test_files_without_titles(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError) as refused:
        titles(tmp_path, tmp_path / name)
    assert message in str(refused.value)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    for name in ("a.tsv", "a.parquet"):
        with pytest.raises(UsageError, match="cannot be read: No such file or directory"):
            titles(tmp_path, tmp_path / name)
    pd.DataFrame({"n": ["i1"]}).to_parquet(tmp_path / "one.parquet")
    with pytest.raises(UsageError, match="one.parquet: has one column; a second one is needed"):
        titles(tmp_path, tmp_path / "one.parquet")


def picture(path: Path, size: tuple[int, int] = (8, 4)) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", size, "red").save(path, "PNG")
    return path


def test_pictures_of_a_data_set_that_was_built(tmp_path: Path) -> None:
    assert find_pictures("", "shop", tmp_path, ITEMS) == {}
    (tmp_path / "shop.pictures.tsv").write_text(
        "item_id\tfile\n007\timages/7.png\ni3\t/else/3.jpg\n"
    )
    assert find_pictures("", "shop", tmp_path, ITEMS) == {
        1: tmp_path / "images" / "7.png",
        2: Path("/else/3.jpg"),
    }


def test_pictures_of_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    shown = picture(folder / "007.png")
    picture(folder / "other.png")
    (folder / "i1.png").mkdir()
    assert find_pictures(str(folder), "shop", tmp_path, ITEMS) == {1: shown}
    (beside := shown.with_suffix(".txt")).touch()  # later by its name
    assert find_pictures(str(folder), "shop", tmp_path, ITEMS) == {1: shown}
    beside.unlink()
    shown.unlink()
    with pytest.raises(UsageError, match="no file there is named like an item, such as i1.jpg"):
        find_pictures(str(folder), "shop", tmp_path, ITEMS)
    with pytest.raises(UsageError, match="/none: cannot be read: No such file or directory"):
        find_pictures(f"{folder}/none", "shop", tmp_path, ITEMS)


def test_thumbnails_are_few_and_small(tmp_path: Path) -> None:
    files = {item: picture(tmp_path / f"{item}.png", (400, 200)) for item in range(5)}
    files[1].write_bytes(b"no picture")
    files[7] = tmp_path / "absent.png"
    shown = thumbnails(files, [-1, 4, 4, 1, 7, 9, 0, 2, 3], most=3)
    assert list(shown) == [4, 0, 2]
    for address in shown.values():
        kind, _, data = address.partition(",")
        assert kind == "data:image/jpeg;base64"
        with Image.open(io.BytesIO(base64.b64decode(data))) as small:
            assert (small.format, small.size) == ("JPEG", (96, 48))
            red, green, blue = small.getpixel((48, 24))  # type: ignore[misc]
            assert red > 240 and green < 15 and blue < 15
