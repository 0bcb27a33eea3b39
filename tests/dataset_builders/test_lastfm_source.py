"""Last.fm: listening logs in the formats of LFM-1K and LFM-360K."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from dataset_builders.sources import lastfm
from recbole_missrec.errors import UsageError
from tests.dataset_builders.raw_files import build, parse, sequences, write_lines, written

BLUR, PULP = "ba853904-ae25-4ebb-89d6-c44cfbd71bd2", "dcb03ce3-67a5-4eb3-b2d1-2a12d93a38f3"
SONG = "11111111-0000-0000-0000-000000000000"
# The newest first, as in LFM-1K. Nobody knows the ids of the band "NA", nor who played at 12:00.
LISTENED = [
    ("user_1", "2009-05-04T12:00:00Z", "", "", "", "Untitled"),
    ("user_1", "2009-05-04T11:00:00Z", "", "NA", "", '"7" of 100%'),
    ("user_1", "2009-05-04T10:03:00Z", BLUR, "Blur", SONG, "Song 2"),
    ("user_1", "2009-05-04T10:02:00Z", BLUR, "blur", SONG, "Song Two"),
    ("user_1", "2009-05-04T10:00:00Z", PULP, "Pulp", "", "Babies"),
    ("user_2", "2009-05-04T23:08:57Z", BLUR, "Blur", "", "Charmless Man"),
    ("user_2", "2009-05-04T23:04:57Z", BLUR, "Blur", "", "Girls & Boys"),
    ("user_2", "2009-05-04T23:00:57Z", PULP, "Pulp", "", "Babies"),
]
TIMES = [1241431200, 1241431320, 1241431380, 1241434800]  # of user_1, from 10:00 on


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "log.tsv", map("\t".join, LISTENED))


def test_artists_in_order_of_time(log: Path, tmp_path: Path) -> None:
    content = build(lastfm, "--source", log, "--core", "0", cache=tmp_path)
    assert content.name == "lastfm-1k"
    assert sequences(content) == {
        "user_1": [PULP, BLUR, BLUR, "name:NA"],
        "user_2": [PULP, BLUR, BLUR],
    }
    assert content.interactions["timestamp"].tolist()[:4] == TIMES
    assert content.texts == {PULP: "Pulp", BLUR: "Blur", "name:NA": "NA"}
    assert content.origin.steps == (
        ("rows", "8"),
        ("rows with the name of the artist", "2 users, 3 items, 7 interactions"),
        ("rows that repeat the item before", "28.6%"),
        ("ordered by time", "equal times of a user in the order of the file"),
    )
    assert content.label == ""
    assert written(content, tmp_path)[3] == "user_1\tname:NA\t1241434800"


def test_tracks_have_their_own_ids_and_the_artist_in_their_text(log: Path, tmp_path: Path) -> None:
    content = build(lastfm, "--source", log, "--items", "track", "--core", "0", cache=tmp_path)
    assert sequences(content) == {
        "user_1": ["name:Pulp Babies", SONG, SONG, "name:NA %227%22 of 100%25", "name:Untitled"],
        "user_2": ["name:Pulp Babies", "name:Blur Girls & Boys", "name:Blur Charmless Man"],
    }
    assert content.texts[SONG] == "Blur Song 2"
    assert content.texts["name:NA %227%22 of 100%25"] == 'NA "7" of 100%'
    assert len(written(content, tmp_path)) == 8


def test_repeats_merged_before_the_core(log: Path, tmp_path: Path) -> None:
    words = ("--source", log, "--core", "2")
    assert sequences(build(lastfm, *words, cache=tmp_path)) == {
        "user_1": [PULP, BLUR, BLUR],
        "user_2": [PULP, BLUR, BLUR],
    }
    content = build(lastfm, *words, "--merge-repeats", cache=tmp_path)
    assert sequences(content) == {"user_1": [PULP, BLUR], "user_2": [PULP, BLUR]}
    assert content.interactions["timestamp"].tolist()[:2] == TIMES[:2]
    assert content.origin.steps[3:5] == (
        ("repeats left out", "2 users, 3 items, 5 interactions"),
        ("2-core", "2 users, 2 items, 4 interactions"),
    )


def test_tags_by_id_or_by_name(log: Path, tmp_path: Path) -> None:
    tags = write_lines(
        tmp_path / "tags.csv",
        ["artist,tag", f"{BLUR},britpop", f'{BLUR},"90s, rock"', "NA,unknown", "Oasis,britpop"],
    )
    content = build(lastfm, "--source", log, "--core", "0", "--tags", tags, cache=tmp_path)
    assert content.texts == {
        PULP: "Pulp",
        BLUR: "Blur britpop 90s, rock",
        "name:NA": "NA unknown",
    }
    assert content.origin.steps[-1] == (f"--tags {tags}", "2 of 3 items")
    assert [source.path for source in content.origin.sources] == [log, tags]


PLAYED = [("00000c28", PULP, "pulp", "2137"), ("00000c28", "", "na", "9"), ("x", BLUR, "blur", "1")]


def test_a_log_without_times_says_so(tmp_path: Path) -> None:
    log = write_lines(tmp_path / "plays.tsv.gz", map("\t".join, PLAYED))
    words = ("--format", "360k", "--source", log, "--core", "0", "--name", "plays")
    content = build(lastfm, *words, cache=tmp_path)
    assert sequences(content) == {"00000c28": [PULP, "name:na"], "x": [BLUR]}
    assert content.interactions["timestamp"].tolist() == [0, 0, 0]
    assert content.label == "NO TIMES: a user's items are in the order of the file"
    assert content.origin.steps[-1] == ("order", content.label)
    assert content.texts == {PULP: "pulp", "name:na": "na", BLUR: "blur"}


@pytest.mark.parametrize(
    ("kind", "name", "rows", "users"),
    [
        ("1k", "userid-timestamp-artid-artname-traid-traname.tsv", LISTENED, 2),
        ("360k", "usersha1-artmbid-artname-plays.tsv", PLAYED, 2),
    ],
)
def test_the_archive_as_it_is_published(
    tmp_path: Path, kind: str, name: str, rows: list[tuple[str, ...]], users: int
) -> None:
    archive = tmp_path / f"lastfm-dataset-{kind.upper()}.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for path, text in (
            ("README.txt", "user\tid"),
            (f"lastfm-dataset/{name}", "\n".join(map("\t".join, rows))),
        ):
            member = tarfile.TarInfo(path)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    content = build(lastfm, "--format", kind, "--source", archive, "--core", "0", cache=tmp_path)
    assert len(sequences(content)) == users
    archive.write_bytes(archive.read_bytes()[:-40])
    with pytest.raises(UsageError, match=f"{name}: damaged or cut short"):
        build(lastfm, "--format", kind, "--source", archive, cache=tmp_path)


def test_few_broken_rows_of_many_are_counted(tmp_path: Path) -> None:
    row = "\t".join(LISTENED[4])
    log = write_lines(tmp_path / "log.tsv", [row] * 700 + ["broken\trow"] + [row] * 300)
    content = build(lastfm, "--source", log, "--core", "0", cache=tmp_path)
    assert content.origin.steps[0] == ("rows", "1,000; 1 without all columns left out")
    assert len(content.interactions) == 1_000
    write_lines(log, [row] * 700 + ["broken\trow"] + [row] * 299)
    with pytest.raises(
        UsageError, match="log.tsv: row 701 has not the columns of --format 1k, user"
    ):
        build(lastfm, "--source", log, "--core", "0", cache=tmp_path)


def tar_without_log(path: Path) -> None:
    with tarfile.open(path.with_name("log.tar.gz"), "w:gz"):
        pass


@pytest.mark.parametrize(
    ("prepare", "words", "expected"),
    [
        (
            None,
            ("--format", "360k"),
            "log.tsv: row 1 has not the columns of --format 360k, user_id",
        ),
        (None, ("--format", "360k", "--items", "track"), "--format 360k: has neither tracks nor"),
        (None, ("--format", "360k", "--merge-repeats"), "--format 360k: has neither tracks nor"),
        (None, ("--core", "9"), "--core 9: leaves nothing of 2 users, 3 items, 7 interactions"),
        (None, ("--source", "none.tsv"), "none.tsv: no such file"),
        (
            lambda log: write_lines(log, ["u\t04.05.2009\t\tBlur\t\tSong 2"]),
            (),
            "log.tsv: In CSV column #1: Row #1: CSV conversion error to timestamp",
        ),
        (
            lambda log: write_lines(log.with_name("tags.csv"), ["artist,tag", "Oasis,rock"]),
            ("--core", "0", "--tags", "tags.csv"),
            "--tags tags.csv: none of it is for an item of the data set, such as '",
        ),
        (
            tar_without_log,
            ("--source", "log.tar.gz"),
            "log.tar.gz: has no file userid-timestamp-artid-artname-traid-traname.tsv",
        ),
    ],
)
def test_what_does_not_fit_is_named(
    log: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    prepare: Callable[[Path], object] | None,
    words: tuple[str, ...],
    expected: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    if prepare is not None:
        prepare(log)
    with pytest.raises(UsageError) as error:
        build(lastfm, "--source", log, *words, cache=tmp_path)
    assert expected in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_addresses() -> None:
    def of(*words: str) -> list[str]:
        return lastfm.addresses(parse(lastfm, *words))

    base = "https://zenodo.org/records/6090214/files/lastfm-dataset-"
    assert of() == [f"{base}1K.tar.gz"]
    assert of("--format", "360k") == [f"{base}360K.tar.gz"]
    assert of("--source", "log.tsv") == []
