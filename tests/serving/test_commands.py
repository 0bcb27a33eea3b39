"""The commands ``recommend``, ``similar`` and ``explain``: what they write, what they refuse."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from recbole_missrec.cli import main
from recbole_missrec.serving import users
from recbole_missrec.serving.recommender import Recommender
from tests.shops import read_histories

Refused = Callable[..., str]


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_history_on_the_command_line(
    trained: Path, recommender: Recommender, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["recommend", str(trained / "MISSRec.pth"), "--history=i3,xx,i7", "--topk=3"]
    assert main(words) == 0
    (row,) = lines(capsys.readouterr().out)
    (expected,) = recommender.recommend([["i3", "i7"]], k=3)
    assert row["user"] is None and row["unknown"] == 1 and row["fallback"] is None
    assert row["items"] == expected["items"]
    assert row["scores"] == pytest.approx(expected["scores"])
    assert main([*words, "--exclude-history"]) == 0
    (row,) = lines(capsys.readouterr().out)
    assert len(row["items"]) == 3 and not {"i3", "i7"} & set(row["items"])
    assert main([*words, "--approximate"]) == 0  # of 24 items all are candidates
    (row,) = lines(capsys.readouterr().out)
    assert row["items"] == expected["items"]


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "txt"])
@pytest.mark.parametrize("out", ["out.jsonl", "out.parquet"])
def test_users_of_a_file_in_parts(
    shop: Path,
    trained: Path,
    recommender: Recommender,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    out: str,
) -> None:
    monkeypatch.setattr(users, "ROWS", 2)
    monkeypatch.setattr(users, "BLOCK", 64)
    histories = read_histories(shop)
    given = {"u3": histories["u3"], "u29": histories["u29"], "nobody": []}
    if kind == "txt":
        Path("users.txt").write_text("\ufeffu3\n\n \nu29\nnobody\n\n")
    else:
        given |= {"other": ["i4", "zz"]}
        rows = [
            {"user": "u3"},
            {"user": "u29", "history": histories["u29"], "more": 1},
            {"user": "nobody", "history": None},
            {"user": "other", "history": ["i4", "zz"]},
        ]
        if kind == "parquet":
            pd.DataFrame(rows)[["history", "user"]].to_parquet("users.parquet")
        else:
            Path("users.jsonl").write_text("\ufeff" + "\n".join(map(json.dumps, rows)))
    words = [f"--users=users.{kind}", f"--out={out}", "--topk=4"]
    assert main(["recommend", str(trained / "MISSRec.pth"), *words]) == 0
    if out.endswith("parquet"):
        found = pd.read_parquet(out).to_dict("records")
    else:
        found = lines(Path(out).read_text())
    expected = recommender.recommend(list(given.values()), k=4)
    assert [row["user"] for row in found] == list(given)
    for row, wanted in zip(found, expected, strict=True):
        assert list(row["items"]) == wanted["items"]
        assert list(row["scores"]) == pytest.approx(wanted["scores"])
        assert (row["unknown"], row["fallback"]) == (wanted["unknown"], wanted["fallback"])


def test_candidates_and_filter(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("some.txt").write_text("\ufeffi3\ni8\nxx\ni12\n\n")
    words = ["recommend", str(trained / "UniSRec.pth"), "--history=i3"]
    for more, expected in (
        (["--candidates=some.txt"], {"i3", "i8", "i12"}),
        (["--filter=colour=green"], {f"i{n}" for n in range(0, 24, 4)}),
        (["--filter=colour=blue", "--candidates=some.txt"], {"i3"}),
    ):
        assert main([*words, *more]) == 0
        (row,) = lines(capsys.readouterr().out)
        assert set(row["items"]) == expected


def test_similar_items_and_an_explanation(
    trained: Path, recommender: Recommender, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["similar", str(trained / "MISSRec.pth"), "--item=i4", "--topk=3"]) == 0
    rows = lines(capsys.readouterr().out)
    best = recommender.similar(recommender.catalogue.row("item", "i4"), 3)
    assert [row["item"] for row in rows] == recommender.catalogue.tokens[best.items[0]].tolist()
    assert [row["cosine"] for row in rows] == pytest.approx(best.scores[0].tolist())

    words = ["explain", str(trained / "MISSRec.pth"), "--history=i3,i7,xx", "--item=i9"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["item"] == "i9" and told["unknown"] == 1
    assert told["score"] == pytest.approx(sum(part["contribution"] for part in told["parts"]))
    assert [part["item"] for part in told["history"]] == ["i3", "i7"]
    assert told["interests"] and all(part["typical"] for part in told["interests"])


def test_the_installed_program(trained: Path) -> None:
    words = ["recommend", str(trained / "MISSRec.pth"), "--history=i3", "--topk=2"]
    done = subprocess.run(
        [sys.executable, "-m", "recbole_missrec", *words], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(lines(done.stdout)[0]["items"]) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "recommend: give one of --history=A,B and --users=FILE"),
        (["--history=i3", "--users=a"], "recommend: give one of --history=A,B and --users=FILE"),
        (["--histroy=i3"], "--histroy: recommend has no such option; did you mean 'history'?"),
        (["--history=i3", "--topk=0"], "--topk=0: must be a whole number from 1"),
        (["--history=i3", "--topk=x"], "--topk=x: must be a whole number from 1"),
        (["--history=i3", "--topk=10001"], "--topk=10001: must be at most 10000"),
        (["--history=i3", "--exclude_history=no"], "--exclude_history=no: must be True or False"),
        (["--history=i3", "--candidates=no"], "no: cannot be read: No such file or directory"),
        (["--history=i3", "--candidates=empty"], "empty: has no item tokens, one a line"),
        (["--history=i3", "--candidates=other"], "other: none of its 1 items can be recommended"),
        (["--history=i3", "--filter=green"], "--filter=green: must be COLUMN=VALUE"),
        (["--history=i3", "--filter=color=red"], "--filter=color=red: no such column; did you me"),
        (["--history=i3", "--filter=colour=rod"], "--filter=colour=rod: no such value; did you m"),
        (["--users=no.jsonl"], "no.jsonl: cannot be read: No such file or directory"),
        (["--users=empty"], "empty: has no rows"),
        (["--users=bad.jsonl"], "bad.jsonl: not a file of users and histories of text tokens: "),
        (["--users=numbers.jsonl"], "numbers.jsonl: not a file of users and histories of text"),
        (["--users=bad.parquet"], "bad.parquet: not a file of users and histories of text token"),
        (["--users=columns.jsonl"], "columns.jsonl: has no column 'user' and no column 'history'"),
        (["--history=i3", "--out=/dev/null/a"], "/dev/null/a: cannot be written: "),
        (["--history=i3", "--data_path=none"], "--dataset=tiny: no such data set in none; "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_of_recommend(
    trained: Path, refused: Refused, words: list[str], message: str
) -> None:
    for name, content in {
        "empty": "\n",
        "other": "zz",
        "bad.jsonl": "{",
        "numbers.jsonl": '{"user": "a", "history": [1, 2]}',
        "columns.jsonl": '{"name": "a"}',
        "bad.parquet": "PAR",
    }.items():
        Path(name).write_text(content)
    assert refused("recommend", trained / "MISSRec.pth", *words).startswith(message)
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["similar", "MISSRec.pth"], "similar: --item=TOKEN is missing"),
        (["similar", "MISSRec.pth", "--item=i99"], "--item=i99: no such item; did you mean 'i9'?"),
        (["similar", "MISSRec.pth", "--items=i9"], "--items: similar has no such option; did yo"),
        (["similar", "MISSRec.pth", "--unseen_bias=1"], "--unseen_bias: similar has no such opti"),
        (["recommend", "UniSRec.pth", "--history=i3", "--unseen_bias=1"], "--unseen_bias: UniSRec"),
        (["recommend", "MISSRec.pth", "--history=i3", "--unseen_bias=-1"], "--unseen_bias=-1: mu"),
        (["explain", "MISSRec.pth", "--item=i9"], "explain: --history is missing; see --help"),
        (["explain", "MISSRec.pth", "--history=i3"], "explain: --item is missing; see --help"),
        (["explain", "MISSRec.pth", "--history=x", "--item=i9"], "--history=x: none of these ite"),
        (["explain", "UniSRec.pth", "--history=i3", "--item=i9"], "explain: UniSRec has one vect"),
        (["explain", "--item=i9"], "explain: which checkpoint? explain saved/FILE.pth"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_of_the_others(
    trained: Path, refused: Refused, words: list[str], message: str
) -> None:
    words = [str(trained / word) if word.endswith(".pth") else word for word in words]
    assert refused(*words).startswith(message)


def test_checkpoints_that_cannot_be_used(shop: Path, trained: Path, refused: Refused) -> None:
    Path("bad.pth").write_bytes((trained / "MISSRec.pth").read_bytes()[:-9])
    said = refused("recommend", "bad.pth", "--history=i3")
    assert said == "bad.pth: damaged, or not a checkpoint of recbole-missrec"
    copy = Path("data/tiny")
    copy.mkdir(parents=True)
    for file in (shop / "tiny").iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    with (copy / "tiny.inter").open("a") as interactions:
        interactions.write("u1\ti3\t99\n")
    said = refused("recommend", trained / "MISSRec.pth", "--history=i3", "--data_path=data")
    assert said.endswith("MISSRec.pth: trained on other items, interactions or features")
    (copy / "tiny.inter").write_text("user_id:token\titem_id:token\ttimestamp:float\n")
    said = refused("recommend", trained / "MISSRec.pth", "--history=i3", "--data_path=data")
    assert said.startswith("--dataset=tiny --model=MISSRec: RecBole refuses them: ValueError: ")


@pytest.mark.parametrize("command", ["recommend", "similar", "explain"])
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    said = capsys.readouterr().out
    assert f"{command} CHECKPOINT" in said
    assert max(map(len, said.splitlines())) <= 100
