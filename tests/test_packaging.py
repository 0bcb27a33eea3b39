"""The installation: requirements, package list, Makefile, licence and the import of torchvision."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from setuptools import Distribution

ROOT = Path(__file__).parents[1]


@pytest.fixture
def distribution(monkeypatch: pytest.MonkeyPatch) -> Distribution:
    """What setuptools reads out of setup.cfg."""
    monkeypatch.chdir(ROOT)
    distribution = Distribution()
    distribution.parse_config_files(["setup.cfg"])
    return distribution


@pytest.mark.parametrize("python_version", ["3.10", "3.11"])
def test_pinned_versions_lie_within_the_bounds(
    distribution: Distribution, python_version: str
) -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    environment = {"python_version": python_version}
    version_of = {
        canonicalize_name(pin.name): str(pin.specifier).removeprefix("==")
        for pin in pins
        if pin.marker is None or pin.marker.evaluate(environment)
    }
    extras = distribution.extras_require
    of_extras = [bound for extra in extras.values() for bound in extra]
    assert of_extras.count("recbole-missrec[ann,lora,offline,serve,vq]") == 1  # in the extra test
    of_extras.remove("recbole-missrec[ann,lora,offline,serve,vq]")
    bounds = [*distribution.install_requires, *of_extras]
    assert len(bounds) >= 15

    outside = [
        bound
        for bound in map(Requirement, bounds)
        if not bound.specifier.contains(version_of.get(canonicalize_name(bound.name), "0"))
    ]

    assert outside == []


def test_every_folder_of_code_is_in_the_package_list(distribution: Distribution) -> None:
    folders = {
        ".".join(module.parent.relative_to(ROOT).parts)
        for top in ("recbole_missrec", "dataset_builders")
        for module in (ROOT / top).rglob("*.py")
    }

    assert set(distribution.packages) == folders | {"recbole_missrec.props"}


def test_every_yaml_file_of_props_is_shipped(distribution: Distribution) -> None:
    build = distribution.get_command_obj("build_py")
    build.ensure_finalized()
    shipped = {
        Path(source, name)
        for package, source, _, names in build.data_files
        if package == "recbole_missrec.props"
        for name in names
    }

    assert Path("props/overall.yaml") in shipped
    assert shipped == set(Path("props").rglob("*.yaml"))


def make(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the Makefile in a folder that holds nothing but what the set-up depends on."""
    for name in ("Makefile", "setup.cfg", "constraints.txt"):
        if not (folder / name).exists():
            (folder / name).write_text((ROOT / name).read_text())
    # The options of a `make` that runs this test are not meant for this one.
    environment = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}
    environment.update(variables)
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )


def stand_in_python(folder: Path, version: str, also: str = "true") -> str:
    """Make option for an interpreter that answers every call with a version, and runs nothing."""
    program = folder / "python"
    program.write_text(f"#!/bin/sh\n{also}\necho {version}\n")
    program.chmod(0o755)
    return f"PYTHON={program}"


def test_make_refuses_another_python(tmp_path: Path) -> None:
    done = make(tmp_path, "quick", stand_in_python(tmp_path, "3.12"))

    assert done.returncode == 2
    assert "needs Python 3.10 or 3.11, since recbole 1.2.1 needs ray <= 2.6.3" in done.stderr
    assert f"Tried: {tmp_path}/python (3.12)." in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_make_test_says_that_chromium_is_missing(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "make").symlink_to(shutil.which("make") or "")

    done = make(tmp_path, "test", PATH=str(tmp_path / "bin"))

    assert done.returncode == 2
    assert "chromium: apt-get install chromium" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_failed_set_up_leaves_no_stamp(tmp_path: Path) -> None:
    (tmp_path / ".venv").mkdir()

    done = make(tmp_path, "quick", stand_in_python(tmp_path, "3.11"))

    assert done.returncode == 2
    assert list((tmp_path / ".venv").iterdir()) == []


def test_set_up_runs_once_until_its_inputs_change(tmp_path: Path) -> None:
    copy_itself = 'mkdir -p .venv/bin; [ "$0" -ef .venv/bin/python ] || cp "$0" .venv/bin/python'
    python = stand_in_python(tmp_path, "3.11", also=copy_itself)

    def installs() -> int:
        done = make(tmp_path, "quick", python)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count('pytest -m "not slow"') == 1
        return done.stdout.count("pip install")

    assert [installs(), installs()] == [2, 0]
    for name in ("setup.cfg", "constraints.txt"):
        os.utime(tmp_path / ".venv" / ".ready", (1, 1))
        for unchanged in ("setup.cfg", "constraints.txt"):
            os.utime(tmp_path / unchanged, (0, 0))
        os.utime(tmp_path / name, (2, 2))
        assert [installs(), installs()] == [2, 0]


def test_licence_is_mit() -> None:
    lines = (ROOT / "LICENSE").read_text().splitlines()

    assert lines[0] == "MIT License"
    assert lines[2].endswith("The recbole-missrec authors")


def run_python(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run code in an interpreter that has imported nothing yet."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_required_packages_import_together() -> None:
    """A resolver can join versions that do not fit: pyarrow 26 and numpy 1 install, not import."""
    done = run_python(
        "import numpy, pandas, pyarrow.parquet, scipy.sparse, sklearn.cluster\n"
        "import PIL.Image, recbole.quick_start, safetensors.torch, tqdm, yaml\n"
    )

    assert done.returncode == 0, done.stderr


def test_encoder_libraries_import_after_ensure_torchvision() -> None:
    done = run_python(
        "from recbole_missrec.torchvision_shim import ensure_torchvision\n"
        "ensure_torchvision()\n"
        "import torchvision, open_clip\n"
        "from transformers import AutoModel, CLIPModel\n"
        "ensure_torchvision()\n"
        "print(CLIPModel.__name__)\n"
    )

    assert (done.returncode, done.stdout) == (0, "CLIPModel\n"), done.stderr


def test_other_failures_of_torchvision_are_not_hidden(tmp_path: Path) -> None:
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('broken otherwise')\n")

    done = run_python(
        "from recbole_missrec.torchvision_shim import ensure_torchvision\nensure_torchvision()\n",
        PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}",
    )

    assert done.returncode == 1
    assert done.stderr.endswith("RuntimeError: broken otherwise\n")


def test_errors_import_no_encoder_library() -> None:
    done = run_python(
        "import sys, recbole_missrec.errors\n"
        "print({'torchvision', 'open_clip', 'transformers'} & set(sys.modules))\n"
    )

    assert (done.returncode, done.stdout) == (0, "set()\n"), done.stderr
