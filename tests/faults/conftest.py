"""A tiny shop, a model that is trained on it, a command that must be refused, a small disk."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from recbole_missrec.cli import main
from recbole_missrec.preparation import prepare
from tests.shops import tiny_config, tiny_words, write_tiny_shop


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="session")
def trained(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``model.pth``, and ``model.resume`` of a run before its first epoch."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(tiny_words(shop, epochs=1, checkpoint_dir="saved")) == 0
        (checkpoint,) = Path("saved").glob("*.pth")
        checkpoint.rename("model.pth")
        trainer, (train_data, _, _) = prepare(tiny_config(shop, checkpoint_dir="saved", epochs=2))
        trainer._save_resume_state(train_data, 0)
        trainer.resume_file.rename("model.resume")
    return folder


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # RecBole writes its logs into the current folder


@pytest.fixture
def refused(capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that must be refused; gives its one message."""

    def run(*words: object) -> str:
        capfd.readouterr()
        assert main([*map(str, words)]) == 2
        output = capfd.readouterr()
        assert output.out == ""
        (line,) = output.err.splitlines()
        return line.removeprefix("recbole-missrec: ")

    return run


# --- disks ---------------------------------------------------------------------------------------


@contextmanager
def mounted(folder: Path) -> Iterator[Path]:
    """A disk of 4 MiB."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)  # logs are open still


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk") as folder:
        yield folder


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where nobody may mount a disk, leave out the tests that fill one."""
    filling = [item for item in items if "disk" in getattr(item, "fixturenames", ())]
    try:
        with TemporaryDirectory() as folder, mounted(Path(folder) / "disk"):
            return
    except (OSError, subprocess.CalledProcessError):
        items[:] = [item for item in items if item not in filling]
        config.hook.pytest_deselected(items=filling)
        print(f"no disk can be mounted, {len(filling)} tests that fill one are left out")
