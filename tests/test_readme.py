"""The README's commands work, in their order, in an empty folder.

Trainings take one epoch, and real data are cut to a few users once they are built.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SETUP = re.compile(r"make |\. |pip install|recbole-missrec ")  # CI and test_packaging see to these


def command_blocks(text: str) -> list[list[str]]:
    """Command lines of each code block, without comments, continued lines joined."""
    blocks = []
    for block in re.findall(r"^```\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        lines = block.replace("\\\n", " ").splitlines()
        bare = [re.sub(r"\s+#.*", "", line).strip() for line in lines]
        blocks.append([line for line in bare if line and not SETUP.match(line)])
    return blocks


SHORTER = (  # one epoch of a few users; of comparisons two models, one seed, one trial
    (
        r"(run_recbole_missrec\.py(?: compare| search)?) (?=--)",
        r"\1 --epochs=1 --train_share=0.05 ",
    ),
    (r"--models=([^,\s]+,[^,\s]+)\S*", r"--models=\1"),
    (r"MISSRec:all", "MISSRec:paper"),
    (r"--seeds=(\d+)\S*", r"--seeds=\1"),
    (r"for seed in 2020 2021 2022", "for seed in 2020"),
    (r"--trials=\d+", "--trials=1"),
)
SIZES = {  # so that benchmarks take seconds
    "train_epoch": "--steps=1 --repeats=1",
    "profile": "--repeats=1",
    "scaling": "--items 300 --lengths 60 --steps=1 --limit=1 --models MISSRec",
    "interests": "--tokens 200 --ratios 0.1 --kinds structured",
    "refresh": "--epochs=1 --ways dpc_knn",
    "encode": "--items=32 --texts=8 --repeats=1 --generated 500",
    "pretrain": "--users=60 --items=50 --interactions=400 --batch=64 --steps=1 --warm_up=1",
    "tuning": "--rounds=1 --batches=1",
    "stress": "--epochs=1 --seeds=2020 --parts=lacking --only=100%.lack.text",
    "prepare_data": "--users=1000 --items=300 --interactions=10000 --compared=5000",
}
USERS = 40  # of a real data set, that the commands go on with
REAL = ("Scientific", "ml-100k")
PAGES = ("README.md", "docs/figures.md")
BLOCKS = [
    block for page in PAGES for block in command_blocks((ROOT / page).read_text(encoding="utf-8"))
]


def test_commands_are_found() -> None:
    text = (
        "```\nmake run\npython a.py --x=1 \\\n  --y=2  # why\n```\nand\n```\nfor i in 1; do b\n```"
    )
    assert command_blocks(text) == [["python a.py --x=1    --y=2"], ["for i in 1; do b"]]


@pytest.mark.parametrize("page", [*PAGES, "docs/paper.md", "docs/stress-faults.md"])
def test_files_that_are_named_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    folders = "recbole_missrec|dataset_builders|benchmarks|examples|props|tests|docs"
    named = re.findall(rf"`((?:{folders})/[^`]*)`", text)
    there = [name for name in named if not re.search(r"[A-Z*]{3}", name)]  # NAME stands for any
    assert [name for name in there if not (ROOT / name).exists()] == []
    assert len(there) > 3 or page != "docs/paper.md"


def run(line: str, folder: Path) -> str:
    """What a command line of the README prints in a folder, trainings cut to one epoch."""
    short = line
    for pattern, replacement in SHORTER:
        short = re.sub(pattern, replacement, short)
    for benchmark, size in SIZES.items():
        short = short.replace(f"benchmarks.{benchmark}", f"benchmarks.{benchmark} {size}")
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    outcome = subprocess.run(
        ["bash", "-ec", short],
        cwd=folder,
        env=os.environ | {"PATH": programs},
        capture_output=True,
        text=True,
    )
    assert outcome.returncode == 0, f"{line}\n{outcome.stderr[-4000:]}"
    return outcome.stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder that looks like a fresh checkout."""
    for name in ("recbole_missrec", "dataset_builders", "benchmarks", "examples", "props"):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "run_recbole_missrec.py", tmp_path)
    return tmp_path


def lines_about(dataset: str | None) -> list[str]:
    """Lines of the blocks that name a real data set, or none; each once."""
    lines: dict[str, None] = {}
    for block in BLOCKS:
        named = [name for name in REAL if any(name in line for line in block)]
        if named == ([dataset] if dataset else []):
            lines |= dict.fromkeys(block)
    return list(lines)


def test_every_block_is_about_one_data_set() -> None:
    about = [line for dataset in (*REAL, None) for line in lines_about(dataset)]
    assert set(about) == {line for block in BLOCKS for line in block}


@pytest.mark.slow
def test_commands_on_what_can_be_made_run(checkout: Path) -> None:
    lines = lines_about(None)
    assert len(lines) >= 6
    printed = {line: run(line, checkout) for line in lines}
    from_export, by_model = (
        json.loads(text)["items"]
        for line, text in printed.items()
        if "read_export" in line or "--users=users.txt" in line
    )
    assert from_export == by_model and len(by_model) == 10


def keep_few_users(interactions: Path) -> None:
    """Cut a file of interactions to those of the first users."""
    header, *rows = interactions.read_text(encoding="utf-8").splitlines()
    users = [row.partition("\t")[0] for row in rows]
    kept = set(list(dict.fromkeys(users))[:USERS])
    few = [row for row, user in zip(rows, users, strict=True) if user in kept]
    interactions.write_text("\n".join([header, *few]) + "\n", encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("dataset", REAL)
def test_commands_on_real_data_run(checkout: Path, real_data: Path, dataset: str) -> None:
    (checkout / "released").symlink_to(real_data)
    build, *others = lines_about(dataset)
    assert len(others) >= 2 and "dataset_builders" in build
    run(build, checkout)
    for interactions in (checkout / "dataset").glob("*/*.inter"):
        keep_few_users(interactions)
    for line in others:
        run(line, checkout)
