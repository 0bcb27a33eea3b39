"""Full disks, folders that may not be written, files that may not be read.

One message and exit status 2; what was whole stays whole, and nothing half-written takes a name.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from benchmarks.faults.whole import broken_files, named_files
from dataset_builders.__main__ import main as build
from recbole_missrec.cli import main
from tests.shops import tiny_words

Refused = Callable[..., str]
NOBODY = 65534
SAMPLE = ["sample", "--users=120", "--items=120", "--text=tfidf", "--image=none", "--out=sets"]
ROOT = Path(__file__).parents[2]


def fill(disk: Path, left: int) -> None:
    """Leave so many bytes of a disk, in whole pages."""
    free = os.statvfs(disk)
    (disk / "log").mkdir(exist_ok=True)  # where checks of whole files do not look
    (disk / "log" / "filling").write_bytes(bytes(max(0, free.f_bavail * free.f_bsize - left)))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in named_files(folder)}


@pytest.fixture
def fails(capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run something that must end with status 2; its last line, before it only progress."""

    def run(command: Callable[[list[str]], int], *words: object) -> str:
        capfd.readouterr()
        assert command([*map(str, words)]) == 2
        said = capfd.readouterr().err
        assert "Traceback" not in said
        return said.splitlines()[-1].removeprefix("recbole-missrec: ")

    return run


# --- a full disk ---------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [0, 4096, 16_384, 65_536])
def test_training_on_a_full_disk(
    refused: Refused, shop: Path, disk: Path, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    monkeypatch.chdir(disk)
    Path("r.json").write_text('{"older": true}')
    fill(disk, left)
    message = refused(*tiny_words(shop, epochs=3, checkpoint_dir="saved", result_file="r.json"))
    assert "No space left on device" in message or "is the disk full?" in message
    assert broken_files(disk) == []
    assert json.loads(Path("r.json").read_text()) == {"older": True}


def test_the_state_of_a_run_stays_whole_when_the_disk_fills(
    refused: Refused, trained: Path, disk: Path
) -> None:
    shutil.copy(trained / "model.resume", disk)
    before = contents(disk)
    fill(disk, 8192)
    message = refused(f"--resume={disk / 'model.resume'}")
    assert message.startswith(f"{disk}/model.")
    assert "cannot be written: is the disk full?" in message
    assert contents(disk) == before
    (disk / "log" / "filling").unlink()
    assert main([f"--resume={disk / 'model.resume'}"]) == 0


@pytest.mark.parametrize("older", [False, True], ids=["new", "older"])
def test_building_on_a_full_disk(
    fails: Callable[..., str], disk: Path, monkeypatch: pytest.MonkeyPatch, older: bool
) -> None:
    monkeypatch.chdir(disk)
    if older:
        assert build([*SAMPLE, "--seed=1"]) == 0
    before = contents(disk)
    for left in (0, 8192, 20_480):
        fill(disk, left)
        assert "No space left on device" in fails(build, *SAMPLE)
        assert contents(disk) == before
        (disk / "log" / "filling").unlink()
    assert build(SAMPLE) == 0


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["map", "model.pth", "--out=map.html"], (0, 4096)),
        (["export", "model.pth", "--out=exported"], (0, 4096, 8192, 16_384)),
        (["remove-items", "model.pth", "--items=i3"], (0,)),
        (["recommend", "model.pth", "--users=users.txt", "--out=lists.jsonl"], (0, 4096)),
        (["evaluate", "model.pth", "--per_user=users.parquet", "--result_file=r.json"], (0, 4096)),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_outputs_on_a_full_disk(
    fails: Callable[..., str],
    trained: Path,
    disk: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    left: tuple[int, ...],
) -> None:
    monkeypatch.chdir(disk)
    shutil.copy(trained / "model.pth", disk)
    Path("users.txt").write_text("u1\nu2\n" * 3000)
    before = contents(disk)
    for some in left:
        fill(disk, some)
        message = fails(main, *words)
        assert "No space left on device" in message or "is the disk full?" in message
        assert broken_files(disk) == []
        assert contents(disk).items() >= before.items()
        (disk / "log" / "filling").unlink()
    assert main(words) == 0


@pytest.mark.slow  # an interpreter starts
def test_a_process_on_a_full_disk_says_one_thing(shop: Path, disk: Path) -> None:
    fill(disk, 12_288)
    words = tiny_words(shop, epochs=3, checkpoint_dir="saved")
    done = subprocess.run(
        [sys.executable, str(ROOT / "run_recbole_missrec.py"), *words],
        cwd=disk,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("recbole-missrec: ")


# --- permissions ---------------------------------------------------------------------------------


@pytest.fixture
def common(shop: Path, trained: Path) -> Iterator[Path]:
    """A folder that everyone may read, with the shop and a checkpoint of it."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copytree(shop / "tiny", folder / "tiny")
        for file in ("model.pth", "model.resume"):
            shutil.copy(trained / file, folder)
        yield folder


@pytest.fixture
def as_nobody(common: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Someone who is not root, whom permissions do not bind; in a folder of their own."""
    own = common / "own"
    own.mkdir()
    own.chmod(0o777)
    monkeypatch.chdir(own)
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.usefixtures("as_nobody")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--checkpoint_dir={}/saved"], "{}/saved/*: cannot be written: Permission denied"),
        (["--result_file={}/r.json"], "{}/r.json: cannot be written: Permission denied"),
        (["--per_user={}/u.parquet"], "{}/u.parquet: cannot be written: Permission denied"),
    ],
)
def test_a_folder_that_may_not_be_written(
    refused: Refused, common: Path, words: list[str], message: str
) -> None:
    given = tiny_words(common, epochs=1, checkpoint_dir="saved")
    own = {word.partition("=")[0] for word in words}
    given = [word for word in given if word.partition("=")[0] not in own]
    words = [word.format(common) for word in words]
    assert refused(*given, *words) == message.format(common)


@pytest.mark.usefixtures("as_nobody")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["map", "{}/model.pth", "--out={}/map.html"], "{}/map.html: cannot be written: "),
        (["export", "{}/model.pth", "--out={}/x"], "{}/x/items.parquet: cannot be written: "),
        (["remove-items", "{}/model.pth", "--items=i3"], "{}/model.items: cannot be written: "),
        (["convert", "{}/model.pth", "--out={}/n.pth"], "{}/n.pth: cannot be written: "),
        (
            ["compare", "--models=Pop", "--datasets=tiny", "--data_path={}", "--out={}/out"],
            "{}/out/plan.json: cannot be written: ",
        ),
        (["--resume={}/model.resume", "--data_path={}"], "{}/model.pth: cannot be written: Perm"),
    ],
    ids=lambda words: words[0] if isinstance(words, list) else "",
)
def test_outputs_that_may_not_be_written(
    refused: Refused, common: Path, words: list[str], message: str
) -> None:
    said = refused(*(word.format(common) for word in words))
    assert said.startswith(message.format(common))
    assert broken_files(common) == []


@pytest.mark.usefixtures("as_nobody")
@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("tiny/tiny.inter", ["--dataset=tiny", "--model=SASRec", "--data_path={}"]),
        ("tiny/tiny.text.safetensors", ["--dataset=tiny", "--data_path={}"]),
        ("tiny", ["--dataset=tiny", "--model=SASRec", "--data_path={}"]),
        ("model.pth", ["evaluate", "{}/model.pth"]),
        ("model.resume", ["--resume={}/model.resume"]),
        ("options.yaml", ["--dataset=tiny", "--data_path={}", "--config_files={}/options.yaml"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_may_not_be_read(refused: Refused, common: Path, file: str, words: list[str]) -> None:
    if not os.getuid():
        os.seteuid(0)
    (common / "options.yaml").touch()
    (common / file).chmod(0)
    if not os.getuid():
        os.seteuid(NOBODY)
    message = refused(*(word.format(common) for word in words))
    assert str(common / file) in message and "Permission denied" in message


@pytest.mark.usefixtures("as_nobody")
def test_a_data_set_that_may_not_be_written(fails: Callable[..., str], common: Path) -> None:
    message = fails(build, *SAMPLE[:-1], f"--out={common / 'sets'}")
    assert message == f"--out {common / 'sets'}: cannot make a folder there: Permission denied"
