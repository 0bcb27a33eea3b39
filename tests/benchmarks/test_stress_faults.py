"""The stress of faults in its smallest form: one command, killed once, without disks."""

import json
from pathlib import Path

import pytest

from benchmarks.faults.whole import broken_files
from benchmarks.stress_faults import good, main


@pytest.mark.slow  # three interpreters start
def test_a_killed_command_ends_as_undisturbed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "table.json"
    words = ["--kinds=build", "--kills=1", "--disks=0", f"--out={out}"]
    assert main([*words, f"--folder={tmp_path / 'runs'}"]) == 0
    (row,) = json.loads(out.read_text())["rows"]
    assert (row["kind"], row["fault"], row["killed"]) == ("build", "kill 1 of 1", True)
    assert (row["broken"], row["changed"], row["again"], row["same"]) == ([], [], 0, True)
    assert "| build     | kill " in out.with_suffix(".md").read_text()
    assert main([*words, "--folder=not needed"]) == 0  # what is done is kept
    assert "build" in capsys.readouterr().out
    out.write_text(json.dumps({**json.loads(out.read_text()), "rows": [{**row, "same": False}]}))
    assert main([*words, "--folder=not needed"]) == 1


def test_an_unknown_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--kinds=bild", f"--out={tmp_path / 'table.json'}"]) == 2
    assert capsys.readouterr().err == "--kinds=bild: no such kind; did you mean 'build'?\n"


def test_on_a_full_disk_a_command_ends_with_a_message() -> None:
    row = {"full": True, "status": 2, "said": "out: No space left on device", "same": True}
    assert good(row | {"broken": [], "changed": [], "traceback": False, "again": 0})
    assert not good(row | {"said": ""})
    assert not good(row | {"status": 1})
    assert not good(row | {"traceback": True})
    assert good({"full": False, "status": 0, "said": "", "same": True})


@pytest.mark.parametrize("name", ["a.json", "a.pth", "a.safetensors", "a.parquet", "a.html"])
def test_half_a_file_is_seen(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b'{"half": ')
    (tmp_path / f".{name}.1.tmp").write_bytes(b"being written")
    (tmp_path / "log.txt").write_bytes(b"what was printed")
    (broken,) = broken_files(tmp_path)
    assert broken.startswith(f"{name}: ")
