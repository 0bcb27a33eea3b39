"""MovieLens: 100K as it comes with RecBole, or 1M, 20M and 25M from their archives.

Each rating is an interaction. The text of a movie is its title, year and genres, and after them
its abstract where --abstracts has one. Pictures come from a folder, or addresses from a table.
"""

import argparse
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

import pandas as pd
import pyarrow as pa

from dataset_builders.archives import open_zipped
from dataset_builders.dataset_files import DatasetContent, Origin
from dataset_builders.downloads import fetch
from dataset_builders.filters import Steps, finish, sizes
from dataset_builders.tables import TEXT, TOKEN, read_csv, read_pairs, read_table
from recbole_missrec.errors import UsageError

HELP = "MovieLens 100K (bundled with RecBole), 1M, 20M or 25M; posters and abstracts from files"
LIGHT = True
PICTURE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp")


@dataclass(frozen=True)
class Archive:
    """A release of MovieLens.

    Attributes:
        size: of the zip file, in bytes.
        md5: of the zip file, as https://files.grouplens.org states beside it.
        users: number that its README states.
        ratings: likewise.
    """

    size: int
    md5: str
    users: int
    ratings: int


ARCHIVES = {
    "1m": Archive(5_917_549, "c4d9eecfca2ab87c1945afe126590906", 6_040, 1_000_209),
    "20m": Archive(198_702_078, "cd245b17a1ae2cc31bb14903e1204af3", 138_493, 20_000_263),
    "25m": Archive(261_978_986, "6b51fb2759a8657d3bfcbfc42b592ada", 162_541, 25_000_095),
}
COLUMNS = ["user_id", "item_id", "timestamp"]
Movies = dict[str, tuple[str, str]]  # movie -> text and first genre
Value = TypeVar("Value")
ADDRESS = "https://files.grouplens.org/datasets/movielens/ml-{}.zip"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Release, and files beside it."""
    parser.add_argument("--set", choices=["100k", *ARCHIVES], default="100k", help="(100k)")
    parser.add_argument(
        "--source", metavar="PATH|URL", help="the zip archive, if not GroupLens' own (not for 100k)"
    )
    parser.add_argument(
        "--posters",
        metavar="FOLDER|TABLE",
        help="files MOVIE.jpg, .png or .webp; or a CSV, TSV or Parquet table of movie and address",
    )
    parser.add_argument(
        "--abstracts", metavar="TABLE", help="CSV, TSV or Parquet table of movie and text"
    )


def addresses(options: argparse.Namespace) -> list[str]:
    """URL of the archive that :func:`build` fetches; none for what is here, as 100k is."""
    address = options.source or ADDRESS.format(options.set)
    return [address] if options.set != "100k" and "://" in address else []


def build(options: argparse.Namespace) -> DatasetContent:
    """The data set ``ml-100k``, ``ml-1m``, ``ml-20m`` or ``ml-25m``.

    Time and memory grow as the ratings, 16 bytes each.

    Raises:
        UsageError: no such file, a damaged one, or a table of which no row fits.
    """
    read = _read_bundled if options.set == "100k" else _read_archive
    origin, interactions, known = read(options)
    movies = known.keys() & set(interactions["item_id"].unique())
    sources, steps = list(origin.sources), list(origin.steps)
    pictures: dict[str, Path | str | bytes] = {}
    abstracts: dict[str, str] = {}
    if options.posters is not None:
        posters: Mapping[str, Path | str]
        if Path(options.posters).is_dir():
            posters = _pictures_in(Path(options.posters))
        else:
            sources.append(fetch(options.posters, options.cache))
            posters = _addresses_in(sources[-1].path)
        pictures |= _of_movies(posters, movies, f"--posters {options.posters}", steps)
    if options.abstracts is not None:
        sources.append(fetch(options.abstracts, options.cache))
        given = _values_in(sources[-1].path)
        abstracts = _of_movies(given, movies, f"--abstracts {options.abstracts}", steps)
    return DatasetContent(
        f"ml-{options.set}",
        interactions,
        texts={
            movie: f"{text} {abstracts[movie]}" if movie in abstracts else text
            for movie, (text, _) in known.items()
            if movie in movies
        },
        categories={
            movie: genre for movie, (_, genre) in known.items() if genre and movie in movies
        },
        pictures=pictures,
        origin=Origin(tuple(sources), tuple(steps), origin.published, origin.publication),
    )


def _read_bundled(options: argparse.Namespace) -> tuple[Origin, pd.DataFrame, Movies]:
    """As RecBole has them, in its order."""
    if options.source is not None:
        raise UsageError("--source: 100k comes with RecBole; choose --set 1m, 20m or 25m")
    folder = Path(str(files("recbole"))) / "dataset_example" / "ml-100k"
    sources = [fetch(str(folder / f"ml-100k.{kind}"), options.cache) for kind in ("inter", "item")]
    ratings = read_table(
        sources[0].path,
        {"user_id:token": TOKEN, "item_id:token": TOKEN, "timestamp:float": pa.int64()},
    )
    interactions = ratings.to_pandas().set_axis(COLUMNS, axis=1)
    fields = ("item_id:token", "movie_title:token_seq", "release_year:token", "class:token_seq")
    movies = read_table(sources[1].path, dict.fromkeys(fields, TEXT)).to_pandas()
    known = {
        movie: (" ".join(parts), parts[-1].partition(" ")[0])
        for movie, *parts in movies.itertuples(index=False)
    }
    return Origin(tuple(sources), (("ratings", sizes(interactions)),)), interactions, known


def _read_archive(options: argparse.Namespace) -> tuple[Origin, pd.DataFrame, Movies]:
    archive = ARCHIVES[options.set]
    official = options.source is None
    source = fetch(
        ADDRESS.format(options.set) if official else options.source,
        options.cache,
        checksum=f"md5:{archive.md5}" if official else None,
        size=archive.size if official else None,
    )
    read = _read_dat if options.set == "1m" else _read_csv
    ratings, titles = read(source.path, f"ml-{options.set}")
    interactions, steps = finish(ratings, core=0)
    origin = Origin(
        (source,),
        (("ratings", sizes(ratings)), *steps),
        {"users": archive.users, "interactions": archive.ratings},
        f"README of ml-{options.set}",
    )
    known = {movie: (_text(*rest), _genres(rest[1])[0]) for movie, *rest in titles}
    return origin, interactions, known


def _read_dat(archive: Path, folder: str) -> tuple[pd.DataFrame, list[list[str]]]:
    """Ratings, and movies with title and genres, of 1M: ``::`` between columns, Latin-1."""
    name = f"{folder}/ratings.dat"
    ratings = read_csv(
        lambda: open_zipped(archive, name),
        f"{archive}: {name}",
        {"user_id": TOKEN, "item_id": TOKEN, "timestamp": pa.int64()},
        names=["user_id", "-", "item_id", "--", "rating", "---", "timestamp"],  # between colons
        delimiter=":",
        quoted=False,
    )
    name = f"{folder}/movies.dat"
    with open_zipped(archive, name) as file:
        lines = file.read().decode("latin-1").rstrip("\n").split("\n")
    movies = [line.split("::") for line in lines]
    for number, movie in enumerate(movies, start=1):
        if len(movie) != 3:
            raise UsageError(f"{archive}: {name}: line {number:,} has {len(movie)} columns, not 3")
    return ratings.to_pandas(), movies


def _read_csv(archive: Path, folder: str) -> tuple[pd.DataFrame, list[list[str]]]:
    """The same of 20M and 25M: CSV files with headers."""
    ratings = _table(
        archive,
        f"{folder}/ratings.csv",
        {"userId": TOKEN, "movieId": TOKEN, "timestamp": pa.int64()},
    )
    fields = ("movieId", "title", "genres")
    movies = _table(archive, f"{folder}/movies.csv", dict.fromkeys(fields, TEXT))
    return ratings.set_axis(COLUMNS, axis=1), movies.to_numpy().tolist()


def _table(archive: Path, name: str, columns: dict[str, pa.DataType]) -> pd.DataFrame:
    where = f"{archive}: {name}"
    return read_csv(lambda: open_zipped(archive, name), where, columns).to_pandas()


def _text(title: str, genres: str) -> str:
    """Title, year and genres: ``"Toy Story 1995 Animation Comedy"``."""
    found = re.fullmatch(r"(.*\S)\s+\((\d{4})\)\s*", title)
    named = found.groups() if found else (title.strip(),)
    return " ".join(filter(None, (*named, *_genres(genres))))


def _genres(genres: str) -> list[str]:
    """One by one, at least an empty one."""
    return [""] if genres.startswith("(no genres") else genres.strip().split("|")


def _pictures_in(folder: Path) -> dict[str, Path]:
    """Name without its ending -> picture file."""
    paths = (path for path in sorted(folder.iterdir()) if path.suffix.lower() in PICTURE_ENDINGS)
    return {path.stem: path for path in paths}


def _values_in(table: Path) -> dict[str, str]:
    """First column -> second; of several rows of a movie the first counts."""
    return dict(reversed(read_pairs(table)))


def _addresses_in(table: Path) -> dict[str, str]:
    addresses = _values_in(table)
    for movie, address in addresses.items():
        if address and not re.match("(?i)https?://", address):
            raise UsageError(f"{table}: '{address}' of movie '{movie}' must be http or https")
    return addresses


def _of_movies(
    given: Mapping[str, Value], movies: Collection[str], where: str, steps: Steps
) -> dict[str, Value]:
    """What was given for movies of the data set."""
    found = {movie: value for movie, value in given.items() if movie in movies and value}
    if not found:
        raise UsageError(
            f"{where}: none of it is for a movie of the data set, such as '{min(movies)}'"
        )
    others = len(given) - len(found)
    left = f"; {others:,} others not used" if others else ""
    steps.append((where, f"{len(found):,} of {len(movies):,} movies{left}"))
    return found
