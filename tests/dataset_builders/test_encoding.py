"""Features of all items: what gets a row, in which order, after a kill, by two processes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dataset_builders.encoders import choose
from dataset_builders.encoders.interface import Encoder, Loaded, Rows
from dataset_builders.encoding import encode, input_digest
from recbole_missrec.data.features import read_features
from recbole_missrec.errors import UsageError
from tests.dataset_builders.encode_pictures import encode_pictures
from tests.dataset_builders.tiny_networks import WORDS, save_bert

ROOT = Path(__file__).parents[2]
TEXTS = {
    f"i{number}": " ".join(WORDS[(number + word) % 12] for word in range(1 + number * 7 % 31))
    for number in range(600)  # 3 parts
}


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_bert(tmp_path_factory.mktemp("bert"))


def letters(log: list[int] | None = None) -> Encoder:
    """Counts the letters a and b of each text, two texts at a time, the last ones first."""

    def rows(texts: list[str]) -> Rows:
        if log is not None:
            log.append(len(texts))
        for start in range(0, len(texts), 2)[::-1]:
            batch = texts[start : start + 2]
            counts = [[text.count("a"), text.count("b")] for text in batch]
            yield slice(start, start + 2), np.array(counts, np.float32)

    return Encoder("text", "letters", "letters 1", lambda device: Loaded(rows))


def colours() -> Encoder:
    """The mean colour of each picture."""

    def mean(picture: Image.Image) -> np.ndarray:
        assert picture.mode == "RGB"
        return np.asarray(picture, np.float32).mean((0, 1))

    def rows(means: Iterator[np.ndarray]) -> Rows:
        for position, row in enumerate(means):
            yield slice(position, position + 1), row[None]

    return Encoder("image", "colours", "colours 1", lambda device: Loaded(rows, mean))


def test_rows_are_in_the_order_of_items(tmp_path: Path) -> None:
    """Items without a text, or in whose text nothing was found, have no row."""
    texts = {"x": "abba", "y": "", "z": "a", "u": "ccc", "v": " \n", "w": "bbb"}
    encoded = encode(texts, letters(), tmp_path)
    assert encoded is not None
    assert encoded.features.tokens == ["x", "z", "w"]
    assert encoded.features.matrix.tolist() == [[2, 2], [1, 0], [0, 3]]
    assert encoded.features.encoder == "letters"
    assert encoded.failures == {"empty text": 2, "nothing that the encoder knows": 1}
    assert encoded.digest == input_digest(texts, letters())


@pytest.mark.parametrize("texts", [{}, {"x": "", "y": "\t"}, {"x": "c"}])
def test_no_rows_at_all(texts: dict[str, str], tmp_path: Path) -> None:
    encoded = encode(texts, letters(), tmp_path)
    assert encoded is not None
    assert encoded.features.tokens == [] and encoded.features.matrix.shape == (0, 0)
    assert encoded.failures.total() == len(texts)


def test_pictures_that_do_not_decode(tmp_path: Path) -> None:
    """Each kind is counted; the others keep their items. The first part has no picture at all."""
    files = {}
    for number in range(260):
        files[f"i{number}"] = tmp_path / f"{number}.jpg"
        files[f"i{number}"].write_bytes(b"<html>no picture</html>")
    Image.new("RGB", (8, 8), (255, 0, 0)).save(files["i256"], "PNG")
    Image.new("RGB", (400, 300), (0, 255, 0)).save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    files["i257"].write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (255, 5), (0, 0, 255)).save(files["i258"], "PNG")
    Image.new("L", (100, 2), 7).save(files["i259"], "PNG")
    encoded = encode(files, colours(), tmp_path / "work")
    assert encoded is not None
    assert encoded.features.tokens == ["i256", "i259"]
    assert encoded.features.matrix.tolist() == [[255, 0, 0], [7, 7, 7]]
    reasons = {"does not decode": 257, "over 50 times as long as wide": 1}
    assert encoded.failures == Counter(reasons)


def test_lengths_and_neighbours_do_not_change_rows(bert: Path, tmp_path: Path) -> None:
    encoder = choose("text", "bert", model=str(bert), pooling="mean")
    together = encode(TEXTS, encoder, tmp_path)
    assert together is not None and together.features.tokens == list(TEXTS)
    alone = encoder.load(torch.device("cpu")).encode
    for number in range(0, 600, 23):
        ((_, rows),) = alone([TEXTS[f"i{number}"]])
        assert together.features.matrix[number] == pytest.approx(rows[0], abs=1e-5)


def test_the_digest_sees_every_change(bert: Path, tmp_path: Path) -> None:
    """Of items, texts, encoder, options and weights; but not where the model lies."""
    texts = {"x": "red tea", "y": "jam"}
    encoder = choose("text", "bert", model=str(bert))
    moved, other = tmp_path / "moved", tmp_path / "other"
    shutil.copytree(bert, moved)
    assert input_digest(texts, choose("text", "bert", model=str(moved))) == input_digest(
        texts, encoder
    )
    save_bert(other, seed=1)
    digests = [
        input_digest(changed, encoder)
        for changed in (
            texts,
            {"x": "red tea", "y": "jam."},
            {"x": "red tea", "z": "jam"},
            {"y": "jam", "x": "red tea"},
            {"x": "red tea"},
            {"x": "red", "teay": "jam"},
        )
    ]
    digests += [
        input_digest(texts, choose("text", name, autocast, **options))
        for name, autocast, options in (
            ("bert", True, {"model": str(bert)}),
            ("bert", False, {"model": str(bert), "pooling": "mean"}),
            ("bert", False, {"model": str(other)}),
            ("tfidf", False, {}),
            ("minilm", False, {}),
        )
    ]
    assert len(set(digests)) == len(digests) == 11


def test_the_digest_of_pictures_is_of_their_contents(tmp_path: Path) -> None:
    picture, copy = tmp_path / "a.png", tmp_path / "b.png"
    Image.new("L", (8, 8)).save(picture)
    shutil.copy(picture, copy)
    before = input_digest({"x": picture}, colours())
    assert input_digest({"x": copy}, colours()) == before
    Image.new("L", (8, 8), 1).save(picture)
    assert input_digest({"x": picture}, colours()) != before


def test_text_that_is_not_unicode(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="item 'x': its text is not valid Unicode"):
        encode({"x": "half a pair: \ud83d"}, letters(), tmp_path)


def test_finished_parts_are_kept(tmp_path: Path) -> None:
    """What is there is not made again, unless anything changed; parts depend on the number."""
    log: list[int] = []
    texts = {f"i{number}": "ab" * (1 + number % 5) for number in range(600)}
    first = encode(texts, letters(log), tmp_path)
    assert first is not None and log == [256, 256, 88]
    rows = np.array(first.features.matrix)
    parts = sorted(tmp_path.rglob("*.npz"))
    parts[1].unlink()
    parts[1].with_name(f".{parts[1].name}.1.tmp").write_bytes(b"half a part")
    again = encode(texts, letters(log), tmp_path, first.digest)
    assert again is not None and log[3:] == [256]
    assert np.array_equal(again.features.matrix, rows)
    encode(texts | {"i0": "b"}, letters(log), tmp_path)
    assert log[4:] == [256, 256, 88]
    encode({str(number): "a" for number in range(64 * 300)}, letters(log), tmp_path)
    assert log[7:] == [300] * 64


def test_an_encoder_that_needs_all_texts_gets_them(tmp_path: Path) -> None:
    log: list[int] = []
    encode(dict.fromkeys(map(str, range(600)), "a"), replace(letters(log), whole=True), tmp_path)
    assert log == [600]
    encoded = encode(TEXTS, choose("text", "tfidf"), tmp_path)
    assert encoded is not None and encoded.features.matrix.shape == (600, 11)


def test_a_space_that_is_learned_of_the_inputs_is_named_by_them(tmp_path: Path) -> None:
    tfidf = choose("text", "tfidf")
    made = [
        encode(texts, tfidf, tmp_path / str(number))
        for number, texts in enumerate((TEXTS, dict(TEXTS), TEXTS | {"i0": "another"}))
    ]
    one, again, other = (encoded.features.encoder for encoded in made if encoded)
    assert one == f"TF-IDF + truncated SVD of {input_digest(TEXTS, tfidf)[:8]}"
    assert one == again != other


@pytest.mark.slow
def test_killed_at_any_moment_it_gives_the_same_bytes(tmp_path: Path) -> None:
    """Killed on the way to the second part and to the third, then left to end."""
    rng = np.random.default_rng(0)
    for number in range(39):
        pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((100, 100)).save(tmp_path / f"{number}.png")
    (tmp_path / "39.png").touch()
    module = "tests.dataset_builders.encode_pictures"
    words = [sys.executable, "-m", module, str(tmp_path), "made"]
    times: dict[Path, int] = {}
    for moment in (1, 2):
        process = subprocess.Popen(words, cwd=ROOT)
        while len(parts := list(tmp_path.rglob("*.npz"))) < moment:
            assert process.poll() is None
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        times |= {part: part.stat().st_mtime_ns for part in parts}
    assert not (tmp_path / "made.safetensors").exists()
    subprocess.run(words, cwd=ROOT, check=True, timeout=100)
    assert len(times) == 2
    assert {part: part.stat().st_mtime_ns for part in times} == times
    encode_pictures(tmp_path, "at once")
    files = [tmp_path / f"{name}.safetensors" for name in ("made", "at once")]
    assert files[0].read_bytes() == files[1].read_bytes()
    features = read_features(files[0])
    assert features.tokens == [f"i{number}" for number in range(600) if number % 40 < 39]
    assert len(torch.unique(features.matrix, dim=0)) == 39


SHARED = """
import json
import sys
from dataclasses import replace
from pathlib import Path
from recbole_missrec import processes
from dataset_builders.encoders import choose
from dataset_builders.encoding import encode
from recbole_missrec.data.features import write_features
from recbole_missrec.errors import UsageError
model, folder, failing = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
encoder = choose("text", "bert", model=model)
texts = json.loads((folder / "texts.json").read_text())
log = folder / f"{processes.rank()} of {processes.world_size()}.log"
def load(device):
    if processes.rank() == failing:
        raise UsageError("no room on this device")
    loaded = encoder.load(device)
    def count(texts):
        with log.open("a") as file:
            print(len(texts), file=file)
        return loaded.encode(texts)
    return loaded._replace(encode=count)
try:
    encoded = encode(texts, replace(encoder, load=load), folder / "work")
except UsageError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
assert (encoded is None) == (processes.rank() > 0)
if encoded:
    features = encoded.features
    write_features(folder / "made.safetensors", features.tokens, features.matrix, features.encoder)
"""


def run_two(bert: Path, folder: Path, failing: int) -> subprocess.CompletedProcess[str]:
    script = folder / "script.py"
    script.write_text(SHARED)
    (folder / "texts.json").write_text(json.dumps(TEXTS))
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
        + [str(script), str(bert), str(folder), str(failing)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
    )


@pytest.mark.slow
def test_two_processes_give_what_one_gives(bert: Path, tmp_path: Path) -> None:
    done = run_two(bert, tmp_path, failing=-1)
    assert done.returncode == 0, done.stderr
    logs = {path.name: path.read_text().split() for path in tmp_path.glob("*.log")}
    assert logs == {"0 of 2.log": ["256", "88"], "1 of 2.log": ["256"]}
    one = encode(TEXTS, choose("text", "bert", model=str(bert)), tmp_path / "alone")
    assert one is not None
    two = read_features(tmp_path / "made.safetensors")
    assert two.tokens == one.features.tokens
    assert two.matrix.numpy() == pytest.approx(one.features.matrix, abs=1e-5)


@pytest.mark.slow
def test_a_process_that_fails_ends_the_others(bert: Path, tmp_path: Path) -> None:
    done = run_two(bert, tmp_path, failing=1)
    assert done.returncode != 0
    assert "no room on this device" in done.stderr
    assert not (tmp_path / "made.safetensors").exists()
