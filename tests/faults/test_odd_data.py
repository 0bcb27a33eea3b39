"""Odd data and options, drawn at random and by hand: done, or refused with one message."""

import io
import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from recbole_missrec.cli import main
from recbole_missrec.config import Config
from recbole_missrec.data.features import read_features, write_features
from recbole_missrec.errors import UsageError
from recbole_missrec.evaluation.per_user import read_per_user
from recbole_missrec.trainer.checkpoint import load_checkpoint, save_checkpoint
from tests.shops import tiny_words

Refused = Callable[..., str]
HEADER = "user_id:token\titem_id:token\ttimestamp:float"
FUZZ = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=set(Phase) - {Phase.shrink},  # which would train for minutes
)


def write_shop(folder: Path, rows: Sequence[tuple[str, str, object]], name: str = "tiny") -> None:
    """A data set of these rows whose items have text and image features."""
    (folder / name).mkdir(parents=True)
    lines = ["\t".join(map(str, row)) for row in rows]
    text = "\n".join([HEADER, *lines]) + "\n"
    (folder / name / f"{name}.inter").write_bytes(text.encode())
    items = sorted({item for _, item, _ in rows})
    for modality in ("text", "image"):
        matrix = np.random.default_rng(0).normal(size=(len(items), 3)).astype(np.float32)
        write_features(folder / name / f"{name}.{modality}.safetensors", items, matrix, "random")


def done_or_refused(words: Sequence[str]) -> str:
    """Run a command that may be refused, or diverge, but in one line; gives this line."""
    said = io.StringIO()
    with redirect_stderr(said), redirect_stdout(io.StringIO()):
        status = main(words)
    lines = said.getvalue().splitlines()
    if status == 0:
        return ""
    assert status in (1, 2)
    assert len(lines) == 1 and lines[0].startswith("recbole-missrec: ") and len(lines[0]) > 30
    return lines[0]


# --- data sets at the edge -----------------------------------------------------------------------


@pytest.mark.parametrize("model", ["MISSRec", "SASRec", "Pop"])
def test_one_user(model: str) -> None:
    write_shop(Path("shop"), [("u", f"i{n}", n) for n in range(6)])
    words = tiny_words(Path("shop"), model, epochs=1, per_user="users.parquet")
    assert main(words) == 0
    frame = read_per_user("users.parquet")
    assert (frame["user"].tolist(), frame["target"].tolist()) == (["u"], ["i5"])


@pytest.mark.parametrize("model", ["MISSRec", "SASRec", "Pop"])
def test_one_item(refused: Refused, model: str) -> None:
    write_shop(Path("shop"), [(f"u{n // 5}", "i", n) for n in range(20)])
    message = refused(*tiny_words(Path("shop"), model, epochs=1))
    assert message == "--dataset=tiny: has 1 item; nothing to rank"


@pytest.mark.parametrize("model", ["MISSRec", "SASRec"])
@pytest.mark.parametrize("time", ["0", "1e300", "-5"])
def test_equal_timestamps_leave_the_order_of_the_file(model: str, time: str) -> None:
    users = ["u1", "u2", "u3"]
    rows = [(user, f"i{(n * 5 + int(user[1])) % 8}", time) for n in range(6) for user in users]
    write_shop(Path("shop"), rows)
    assert main(tiny_words(Path("shop"), model, epochs=1, per_user="users.parquet")) == 0
    frame = read_per_user("users.parquet")
    assert dict(zip(frame["user"], frame["target"], strict=True)) == dict(
        (user, item) for user, item, _ in rows
    )


@pytest.mark.parametrize("model", ["MISSRec", "SASRec"])
def test_non_ascii_and_very_long_tokens(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    items = ["茶", "żur 🫖", "a\u0301", "á", "x" * 100_000, "x" * 99_999 + "y", "0", "00", "-1"]
    users = ["ü", "🧑‍🍳", "n" * 100_000]
    rows = [(user, items[(n + 2 * u) % 9], n) for n in range(8) for u, user in enumerate(users)]
    write_shop(Path("shop"), rows)
    words = tiny_words(Path("shop"), model, epochs=1, per_user="users.parquet")
    assert main([*words, "--result_file=r.json"]) == 0
    frame = read_per_user("users.parquet")
    last = {user: item for user, item, _ in rows}
    assert dict(zip(frame["user"], frame["target"], strict=True)) == last
    if model == "MISSRec":
        checkpoint = json.loads(Path("r.json").read_text())["checkpoint"]
        capsys.readouterr()
        assert main(["recommend", checkpoint, "--history=茶,żur 🫖", "--topk=9"]) == 0
        said = capsys.readouterr().out
        assert all(item in said for item in items)


@pytest.mark.parametrize("time", ["nan", "NaN", "", "NULL"])
def test_a_timestamp_that_is_no_number(refused: Refused, time: str) -> None:
    rows: list[tuple[str, str, object]] = [("u", f"i{n}", n) for n in range(6)]
    rows[3] = ("u", "i3", time)
    write_shop(Path("shop"), rows)
    message = refused(*tiny_words(Path("shop"), epochs=1))
    assert message == "shop/tiny/tiny.inter: line 5: no timestamp"


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("user_id:float\titem_id:token\ttimestamp:float", "must name user_id:token, and once"),
        ("user_id:token\titem_id:token_seq\ttimestamp:float", "must name item_id:token, and once"),
        ("user_id:token\titem_id:token\ttimestamp:token", "must name timestamp:float, and once"),
        (f"{HEADER}\tuser_id:token", "must name user_id:token, and once"),
        (f"{HEADER}\titem_id:float", "must name item_id:token, and once"),
    ],
)
def test_columns_of_another_type(refused: Refused, header: str, message: str) -> None:
    write_shop(Path("shop"), [("u", f"i{n}", n) for n in range(6)])
    path = Path("shop/tiny/tiny.inter")
    path.write_text(path.read_text().replace(HEADER, header))
    said = refused(*tiny_words(Path("shop"), epochs=1))
    assert said == f"{path}: its first line {message}"


@pytest.mark.parametrize(
    "content",
    [
        f"{HEADER}\n".encode() + b"u\xff\ti1\t1\n" * 5,
        f"{HEADER}\nu1\ti1\t1\n".encode("utf-16"),
        f'{HEADER}\nu1\t"i1\t1\nu1\ti2\t2\n'.encode(),
        b"\0" * 100,
    ],
    ids=["latin-1", "utf-16", "quote", "zeros"],
)
def test_bytes_that_are_no_table(refused: Refused, content: bytes) -> None:
    Path("shop/tiny").mkdir(parents=True)
    Path("shop/tiny/tiny.inter").write_bytes(content)
    message = refused(*tiny_words(Path("shop"), "SASRec", epochs=1))
    assert message.startswith("shop/tiny/tiny.inter: ")


# --- drawn at random -----------------------------------------------------------------------------

anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
users = st.sampled_from(["u1", "u2", "u3"]) | st.sampled_from(["NA", "", '"', "é", " u1"])
items = st.sampled_from([f"i{n}" for n in range(6)]) | anything
times = st.integers(-9, 9).map(str) | st.floats().map(str) | st.sampled_from(["", "1e999", "0x1"])
lines = st.tuples(users, items, times).map("\t".join) | anything
headers = st.sampled_from([HEADER] * 5 + ["user_id\titem_id", f"{HEADER}\tprice:float", ""])
end = st.sampled_from(["\n", "\n", "\r\n"])
tables = st.builds(
    lambda header, rows, end: end.join([header, *rows, ""]).encode(),
    headers,
    st.lists(st.tuples(users, items, times).map("\t".join), max_size=30) | st.lists(lines),
    end,
)


@pytest.mark.slow  # many trainings
@settings(FUZZ, max_examples=40)
@given(content=tables | st.binary(max_size=200), model=st.sampled_from(["Pop", "MISSRec"]))
def test_any_file_of_interactions(content: bytes, model: str) -> None:
    with TemporaryDirectory() as name:
        shop = Path(name)
        write_shop(shop, [("u", f"i{n}", n) for n in range(6)])
        (shop / "tiny" / "tiny.inter").write_bytes(content)
        done_or_refused(tiny_words(shop, model, epochs=1))


@st.composite
def changed(draw: Any, content: bytes) -> bytes:
    """Bytes with a part replaced by others, of any length."""
    start = draw(st.integers(0, min(len(content), draw(st.sampled_from([16, 400, len(content)])))))
    stop = draw(st.integers(start, min(len(content), start + 40)))
    return content[:start] + draw(st.binary(max_size=40)) + content[stop:]


@settings(FUZZ, max_examples=300)
@given(data=st.data())
def test_any_change_of_a_feature_file(shop: Path, tmp_path: Path, data: Any) -> None:
    whole = shop / "tiny" / "tiny.text.safetensors"
    path = tmp_path / "changed.text.safetensors"
    path.write_bytes(data.draw(changed(whole.read_bytes())))
    try:
        features = read_features(path)
    except UsageError as error:
        assert str(error).startswith(f"{path}: ")
    else:
        assert features.tokens == read_features(whole).tokens
        assert torch.equal(features.matrix, read_features(whole).matrix)


@settings(FUZZ, max_examples=100)
@given(data=st.data())
def test_any_change_of_a_checkpoint(trained: Path, tmp_path: Path, data: Any) -> None:
    content = (trained / "model.pth").read_bytes()
    path = tmp_path / "changed.pth"
    path.write_bytes(data.draw(changed(content)))
    try:
        assert load_checkpoint(path).keys() == load_checkpoint(trained / "model.pth").keys()
    except UsageError as error:
        assert str(error) == f"{path}: damaged, or not a checkpoint of recbole-missrec"


tensors = st.sampled_from([torch.zeros(()), torch.ones(2), torch.full((3, 2), torch.nan)])
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.floats() | anything | tensors,
    lambda part: st.lists(part, max_size=3) | st.dictionaries(anything, part, max_size=3),
    max_leaves=5,
)


@pytest.mark.slow  # many evaluations
@settings(FUZZ, max_examples=60)
@given(data=st.data(), value=plain)
def test_any_value_in_a_checkpoint(trained: Path, tmp_path: Path, data: Any, value: Any) -> None:
    name = data.draw(st.sampled_from(["model.pth", "model.resume"]))
    content = load_checkpoint(trained / name)
    part: Any = content
    while isinstance(part, dict) and part:
        key = data.draw(st.sampled_from(sorted(part, key=str)))
        if not isinstance(part[key], dict) or data.draw(st.booleans()):
            part[key] = value
            break
        part = part[key]
    path = tmp_path / name
    save_checkpoint(path, content)
    with_outputs = ["--result_file=r.json", f"--checkpoint_dir={tmp_path}"]
    words = ["evaluate", str(path)] if name == "model.pth" else [f"--resume={path}"]
    done_or_refused([*words, *with_outputs[: 1 if name == "model.pth" else 2]])


texts = anything.filter(lambda text: "/" not in text and "\0" not in text)
values = st.sampled_from(
    ["True", "False", "None", "-1", "0", "1", "2", "0.5", "-0.5", ".nan", ".inf", "[]", "[1]"]
    + ["[text]", "{}", "{a: 1}", "[[1]]", "full", "[1, 0.5]", "{LS: 1}", "'1'", "[0, inf)", "1e9"]
)


@pytest.mark.parametrize("model", ["MISSRec", "SASRec"])
def test_any_option_is_read_or_refused(model: str) -> None:
    options = sorted(Config(model, "tiny").internal_config_dict.keys() - {"MODEL_TYPE"})

    @settings(FUZZ, max_examples=150)
    @given(option=st.sampled_from(options), value=values | texts)
    def read(option: str, value: str) -> None:
        try:
            Config(model, "tiny", command_line={option: value})
        except UsageError as error:
            assert str(error)

    read()


# of which any number is a matter of time or room, or which say where files are
UNBOUNDED = {"worker", "nproc", "world_size", "data_path", "build", "data_size", "epochs"}


@pytest.mark.slow  # many trainings
@pytest.mark.parametrize("model", ["MISSRec", "SASRec", "UniSRec"])
def test_any_option_trains_or_is_refused(shop: Path, tmp_path: Path, model: str) -> None:
    options = Config(model, "tiny").internal_config_dict.keys() - UNBOUNDED - {"MODEL_TYPE"}

    @settings(FUZZ, max_examples=60)
    @given(option=st.sampled_from(sorted(options)), value=values.filter(lambda v: v != "1e9"))
    def train(option: str, value: str) -> None:
        words = tiny_words(shop, model, epochs=1, checkpoint_dir="saved")
        shutil.rmtree(tmp_path / "saved", ignore_errors=True)
        words = [word for word in words if not word.startswith(f"--{option}=")]
        done_or_refused([*words, f"--{option}={value}"])

    train()
