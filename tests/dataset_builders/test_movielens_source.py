"""MovieLens: the bundled set with real posters and abstracts, and archives in the true formats."""

import struct
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pandas as pd
import pytest

from dataset_builders.archives import LARGEST
from dataset_builders.sources import movielens
from recbole_missrec.errors import UsageError
from tests.dataset_builders.raw_files import (
    build,
    parse,
    sequences,
    write_lines,
    write_zip,
    written,
)

# User, movie, rating, time; 1 rates the movies 1193, 661, 1193 in this order.
RATINGS = [(1, 1193, 5, 978300760), (1, 661, 3, 978302109), (2, 1193, 4, 9), (2, 2355, 1, 8)]
TEXTS = {
    "661": "James and the Giant Peach 1996 Animation Children's",
    "1193": "Misérables, Les: part 2 1995 Drama",
    "2355": "Home",
}


def archive_1m(folder: Path) -> Path:
    movies = (
        "661::James and the Giant Peach (1996)::Animation|Children's\n"
        "1193::Misérables, Les: part 2 (1995)::Drama\n"
        "2355::Home::\n"
        "9::Never rated (1999)::Drama\n"
    )
    return write_zip(
        folder / "ml-1m.zip",
        {
            "ml-1m/ratings.dat": "".join(
                "::".join(map(str, row)) + "\n" for row in RATINGS
            ).encode(),
            "ml-1m/movies.dat": movies.encode("latin-1"),
            "ml-1m/README": b"",
        },
    )


def archive_csv(folder: Path, name: str) -> Path:
    movies = (
        "movieId,title,genres\r\n"
        "661,James and the Giant Peach (1996),Animation|Children's\r\n"
        '1193,"Misérables, Les: part 2 (1995) ",Drama\r\n'
        "2355,Home,(no genres listed)\r\n"
        "9,Never rated (1999),Drama\r\n"
    )
    ratings = "userId,movieId,rating,timestamp\r\n" + "".join(
        f"{user},{movie},{rating}.0,{time}\r\n" for user, movie, rating, time in RATINGS
    )
    return write_zip(
        folder / f"{name}.zip",
        {f"{name}/ratings.csv": ratings.encode(), f"{name}/movies.csv": movies.encode()},
    )


def test_the_bundled_interactions_are_recboles_own(tmp_path: Path) -> None:
    content = build(movielens, cache=tmp_path)
    folder = Path(str(files("recbole"))) / "dataset_example" / "ml-100k"
    original = pd.read_csv(folder / "ml-100k.inter", sep="\t", dtype=str)
    columns = original[["user_id:token", "item_id:token", "timestamp:float"]]
    assert content.name == "ml-100k"
    assert written(content, tmp_path) == columns.agg("\t".join, axis=1).tolist()
    assert content.texts["1"] == "Toy Story 1995 Animation Children's Comedy"
    assert set(content.texts) == set(original["item_id:token"])
    assert (content.categories["1"], content.categories["2"]) == ("Animation", "Action")
    assert content.origin.steps == (("ratings", "943 users, 1,682 items, 100,000 interactions"),)
    assert [source.path.name for source in content.origin.sources] == [
        "ml-100k.inter",
        "ml-100k.item",
    ]


def test_real_posters_and_abstracts(real_data: Path, tmp_path: Path) -> None:
    media = real_data / "ml-100k-media"
    words = ("--posters", media / "posters", "--abstracts", media / "abstracts.tsv")
    content = build(movielens, *words, cache=tmp_path)
    assert len(content.pictures) == 1_445
    assert content.pictures["2"] == media / "posters" / "2.jpg"
    assert content.texts["2"].startswith(
        "GoldenEye 1995 Action Adventure Thriller GoldenEye is a 1995 spy film, the seventeenth"
    )
    assert '"Best Special Visual Effects" and "Best Sound" from the British' in content.texts["2"]
    assert content.origin.steps[1:] == (
        (f"--posters {media / 'posters'}", "1,445 of 1,682 movies"),
        (f"--abstracts {media / 'abstracts.tsv'}", "1,445 of 1,682 movies"),
    )
    assert content.origin.sources[-1].path == media / "abstracts.tsv"


@pytest.mark.parametrize("kind", ["1m", "20m", "25m"])
def test_archives(tmp_path: Path, kind: str) -> None:
    archive = archive_1m(tmp_path) if kind == "1m" else archive_csv(tmp_path, f"ml-{kind}")
    content = build(movielens, "--set", kind, "--source", archive, cache=tmp_path)
    assert content.name == f"ml-{kind}"
    assert sequences(content) == {"1": ["1193", "661"], "2": ["2355", "1193"]}
    assert written(content, tmp_path)[0] == "1\t1193\t978300760"
    assert content.texts == TEXTS
    assert content.categories == {"661": "Animation", "1193": "Drama"}
    assert content.origin.steps == (
        ("ratings", "2 users, 3 items, 4 interactions"),
        ("ordered by time", "equal times of a user in the order of the file"),
    )
    assert (
        content.origin.published
        == {
            "1m": {"users": 6_040, "interactions": 1_000_209},
            "20m": {"users": 138_493, "interactions": 20_000_263},
            "25m": {"users": 162_541, "interactions": 25_000_095},
        }[kind]
    )


def test_posters_and_abstracts_from_tables(tmp_path: Path) -> None:
    address = "https://pictures.example/661.jpg"
    posters = write_lines(
        tmp_path / "posters.csv",
        ["movie,url", f"661,{address}", "1193,", "5,http://x", "661,http://y"],
    )
    abstracts = write_lines(tmp_path / "texts.tsv", ["movie\ttext", '1193\tA "long" story.'])
    words = ("--posters", posters, "--abstracts", abstracts, "--source", archive_1m(tmp_path))
    content = build(movielens, "--set", "1m", *words, cache=tmp_path)
    assert content.pictures == {"661": address}
    assert content.texts == TEXTS | {"1193": TEXTS["1193"] + ' A "long" story.'}
    assert content.origin.steps[2:] == (
        (f"--posters {posters}", "1 of 3 movies; 2 others not used"),
        (f"--abstracts {abstracts}", "1 of 3 movies"),
    )


def test_pictures_in_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("661.webp", "1193.JPG", "2355.txt", "7.png"):
        (folder / name).touch()
    words = ("--set", "1m", "--source", archive_1m(tmp_path), "--posters", folder)
    content = build(movielens, *words, cache=tmp_path)
    assert content.pictures == {"661": folder / "661.webp", "1193": folder / "1193.JPG"}
    assert content.origin.steps[-1] == (f"--posters {folder}", "2 of 3 movies; 1 others not used")


def cut(archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:-200])


def without_movies(archive: Path) -> None:
    write_zip(archive, {"ml-1m/ratings.dat": b"1::2::3::4\n"})


def flipped(archive: Path) -> None:
    """One byte of the packed ratings is another."""
    data = bytearray(archive.read_bytes())
    data[30 + len("ml-1m/ratings.dat") + 20] ^= 0xFF
    archive.write_bytes(data)


def holding(
    ratings: str = "1::661::5::9\n", movies: str = "661::Home::\n"
) -> Callable[[Path], object]:
    members = {"ml-1m/ratings.dat": ratings.encode(), "ml-1m/movies.dat": movies.encode()}
    return lambda archive: write_zip(archive, members)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (cut, "ml-1m.zip: ml-1m/ratings.dat: damaged or cut short (File is not a zip file)"),
        (flipped, "ml-1m.zip: ml-1m/ratings.dat: damaged or cut short ("),
        (without_movies, "ml-1m.zip: has no file ml-1m/movies.dat"),
        (holding(ratings="1::661::9\n"), "ml-1m/ratings.dat: CSV parse error: Row #1: Expected 7"),
        (holding(ratings="1::661::5::x\n"), "ml-1m/ratings.dat: In CSV column #6: Row #1: CSV"),
        (holding(movies="661::A::B\n7::A\n"), "ml-1m/movies.dat: line 2 has 2 columns, not 3"),
        (lambda archive: archive.unlink(), "ml-1m.zip: no such file"),
    ],
)
def test_a_damaged_archive_is_named(
    tmp_path: Path, damage: Callable[[Path], object], expected: str
) -> None:
    archive = archive_1m(tmp_path)
    damage(archive)
    with pytest.raises(UsageError) as error:
        build(movielens, "--set", "1m", "--source", archive, cache=tmp_path)
    assert expected in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_file_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    archive = archive_1m(tmp_path)
    data = bytearray(archive.read_bytes())
    size = data.index(b"PK\x01\x02") + 24  # of the first file, in the archive's directory
    data[size : size + 4] = struct.pack("<I", LARGEST + 1)
    archive.write_bytes(data)
    with pytest.raises(UsageError) as error:
        build(movielens, "--set", "1m", "--source", archive, cache=tmp_path)
    assert str(error.value) == (
        f"{archive}: ml-1m/ratings.dat: would be 3,221,225,473 bytes, more than 3,221,225,472"
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--source", "ml.zip"), "--source: 100k comes with RecBole; choose --set 1m, 20m or 25m"),
        (("--posters", "none.csv"), "none.csv: no such file"),
        (("--posters", "urls.csv"), "urls.csv: 'ftp://x/1.jpg' of movie '1' must be http or https"),
        (
            ("--abstracts", "other.csv"),
            "other.csv: none of it is for a movie of the data set, such",
        ),
        (("--abstracts", "one.csv"), "one.csv: has one column, 'movie', not two"),
        (("--abstracts", "notes.doc"), "notes.doc: must end in .csv, .tsv (also .gz of these) or"),
    ],
)
def test_files_beside_it_that_do_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_lines(Path("urls.csv"), ["movie,url", "1,ftp://x/1.jpg"])
    write_lines(Path("other.csv"), ["movie,text", "x,y"])
    write_lines(Path("one.csv"), ["movie", "1"])
    write_lines(Path("notes.doc"), ["movie"])
    with pytest.raises(UsageError) as error:
        build(movielens, *words, cache=tmp_path)
    assert expected in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_addresses() -> None:
    def of(*words: str) -> list[str]:
        return movielens.addresses(parse(movielens, *words))

    assert of() == []
    assert of("--set", "25m") == ["https://files.grouplens.org/datasets/movielens/ml-25m.zip"]
    assert of("--set", "1m", "--source", "mine.zip") == []
    assert of("--set", "1m", "--source", "http://my/ml.zip") == ["http://my/ml.zip"]
