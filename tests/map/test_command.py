"""The command ``map``: a page out of a training, and what is refused."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from recbole_missrec.cli import main
from recbole_missrec.trainer.checkpoint import load_checkpoint, save_checkpoint
from tests.map.content import held
from tests.map.test_item_files import picture
from tests.shops import read_histories, tiny_words, write_tiny_shop

Refused = Callable[..., str]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def trained(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the checkpoints MISSRec.pth, bare.pth (without interests) and UniSRec.pth."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, model, more in (
            ("MISSRec", "MISSRec", {}),
            ("bare", "MISSRec", {"structure": "no_interests"}),
            ("UniSRec", "UniSRec", {}),
        ):
            assert main(tiny_words(shop, model, epochs=1, checkpoint_dir="saved", **more)) == 0
            (checkpoint,) = Path("saved").glob("*.pth")
            checkpoint.rename(f"{name}.pth")
        yield folder


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # RecBole writes its logs into the current folder


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """Run a command that must be refused; gives its one message."""

    def run(*words: object) -> str:
        capsys.readouterr()
        assert main(["map", *map(str, words)]) == 2
        output = capsys.readouterr()
        assert output.out == ""
        (line,) = output.err.splitlines()
        assert list(Path().glob("*.html")) == []
        return line.removeprefix("recbole-missrec: ")

    return run


def test_the_page_of_a_training(
    shop: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["map", str(trained / "MISSRec.pth"), "--out=pages/m.html", "--users=u3,u29"]
    assert main(words) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert re.fullmatch(
        r"44 tokens: projection by pca\n14 interests: typical items and words\n"
        r"2 users: attention\n0 pictures at most\npages/m.html is written, \d\d KiB\n",
        said.err,
    )
    page = Path("pages/m.html").read_text(encoding="utf-8")
    assert "24 items, 44 tokens (22 text, 22 image), 14 interests. Trained with seed 2020" in page
    data = held(page)
    histories = read_histories(shop)
    assert [user["user"] for user in data["users"]] == ["u3", "u29"]
    for user in data["users"]:
        *read, following = histories[user["user"]]
        assert [data["tokens"][item] for item in user["items"]] == read
        assert data["tokens"][user["target"]] == following
        assert len(user["toItems"]) == 2 and len(user["toItems"][0]) == len(read)
        own = {data["interest"][24 * m + item] for m in (0, 1) for item in user["items"]} - {-1}
        assert user["interests"] == sorted(own)
        assert sum(user["toInterests"][1]) == pytest.approx(1, abs=1e-4)

    stored = load_checkpoint(trained / "MISSRec.pth")["state_dict"]
    ids = stored["interest_ids"][1:].T.flatten()
    assert data["interest"] == ids.masked_fill(ids == 14, -1).tolist()
    absent = data["tokens"].index("i1"), 24 + data["tokens"].index("i3")
    assert [data["interest"][point] for point in absent] == [-1, -1]
    assert data["titles"] is None and data["pictures"] == {}
    assert main(words) == 0
    assert Path("pages/m.html").read_text(encoding="utf-8") == page


def test_users_are_drawn_where_none_are_asked_for(trained: Path) -> None:
    drawn = []
    for name in ("a.html", "b.html"):
        assert main(["map", str(trained / "MISSRec.pth"), f"--out={name}"]) == 0
        drawn.append([user["user"] for user in held(Path(name).read_text())["users"]])
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) == 5


def test_titles_and_pictures_of_files(trained: Path) -> None:
    Path("t.tsv").write_text("item\ttitle\ni7\t<b>Seven</b>\n")
    picture(Path("pictures/i7.jpg"))
    words = ["--titles=t.tsv", "--pictures=pictures", "--users=u1"]
    assert main(["map", str(trained / "MISSRec.pth"), *words]) == 0
    data = held(Path("map.html").read_text())
    seven = data["tokens"].index("i7")
    assert data["titles"][seven] == "<b>Seven</b>"
    assert set(data["titles"]) == {"", "<b>Seven</b>"}
    typical_or_read = {*data["typical"], *data["users"][0]["items"], data["users"][0]["target"]}
    assert (str(seven) in data["pictures"]) == (seven in typical_or_read)
    interest = data["interest"][seven]
    assert data["words"][interest] == "seven"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["UniSRec.pth"], "{0}/UniSRec.pth: of UniSRec, which has no interests"),
        (["bare.pth"], "{0}/bare.pth: of --structure=no_interests; there are none to look at"),
        (["MISSRec.pth", "--users=u3,u99"], "--users=u99: no such user; did you mean 'u9'?"),
        (
            ["MISSRec.pth", "--users=u3,"],
            "--users=u3,: must be different names with commas between",
        ),
        (["MISSRec.pth", "--user=u3"], "--user: map has no such option; did you mean 'users'?"),
        (["MISSRec.pth", "--seed=3"], "--seed: map has no such option; "),
        (
            ["MISSRec.pth", "--projection=tsne"],
            "--projection=tsne: unknown; choose from 'pca', 'um",
        ),
        (["MISSRec.pth", "--titles=no.tsv"], "no.tsv: cannot be read: No such file or directory"),
        (["MISSRec.pth", "--pictures=no"], "--pictures=no: cannot be read: No such file or dir"),
        (["MISSRec.pth", "--out=/dev/null/m.html"], "/dev/null/m.html: cannot be written: "),
        (["MISSRec.pth", "--data_path=none"], "--dataset=tiny: no such data set in none; "),
        (["MISSRec.pth", "--data_path"], "--data_path: has no value; write --data_path="),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_bad_input(trained: Path, refused: Refused, words: list[str], message: str) -> None:
    assert refused(trained / words[0], *words[1:]).startswith(message.format(trained))


def test_words_without_a_checkpoint(refused: Refused) -> None:
    assert refused("--out=m.html") == "map: which checkpoint? map saved/FILE.pth"
    assert refused() == "map: which checkpoint? map saved/FILE.pth"
    assert refused("no.pth") == "no.pth: cannot be read: No such file or directory"


def test_damaged_checkpoint(trained: Path, refused: Refused) -> None:
    Path("bad.pth").write_bytes((trained / "MISSRec.pth").read_bytes()[:-9])
    assert refused("bad.pth") == "bad.pth: damaged, or not a checkpoint of recbole-missrec"
    torch.save({"model": "MISSRec"}, "other.pth")
    assert refused("other.pth").startswith("other.pth: not a checkpoint of recbole-missrec")


def test_unfinished_run(trained: Path, refused: Refused) -> None:
    save_checkpoint("a.resume", load_checkpoint(trained / "MISSRec.pth") | {"optimizer": {}})
    assert refused("a.resume") == "a.resume: of an unfinished run; go on with --resume=a.resume"


def test_checkpoint_of_another_catalogue(trained: Path, refused: Refused, tmp_path: Path) -> None:
    other = write_tiny_shop(tmp_path / "other", seed=1)
    said = refused(trained / "MISSRec.pth", f"--data_path={other}")
    assert said.endswith("MISSRec.pth: trained on other items, interactions or features")


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["map", "--help"]) == 0
    said = capsys.readouterr().out
    for word in ("CHECKPOINT", "--users", "--projection", "--titles", "--pictures", "400"):
        assert word in said
    assert max(map(len, said.splitlines())) <= 100
    assert main(["--help"]) == 0
    assert "map CHECKPOINT" in capsys.readouterr().out
