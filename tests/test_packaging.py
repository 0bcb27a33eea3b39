"""The installation: requirements, package list, Makefile, licence and the import of torchvision."""

import os
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
    bounds = [*distribution.install_requires, *extras["test"], *extras["check"]]
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


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the Makefile in a folder that holds nothing but what the set-up depends on."""
    for name in ("Makefile", "setup.cfg", "constraints.txt"):
        if not (folder / name).exists():
            (folder / name).write_text((ROOT / name).read_text())
    return subprocess.run(["make", *arguments], cwd=folder, capture_output=True, text=True)


def python_that_prints(version: str, folder: Path) -> Path:
    """A program that answers every call with a version, and creates no environment."""
    program = folder / "python"
    program.write_text(f"#!/bin/sh\necho {version}\n")
    program.chmod(0o755)
    return program


def test_make_refuses_another_python(tmp_path: Path) -> None:
    python = python_that_prints("3.12", tmp_path)

    done = make(tmp_path, "quick", f"PYTHON={python}")

    assert done.returncode == 2
    assert "needs Python 3.10 or 3.11, since recbole 1.2.1 needs ray <= 2.6.3" in done.stderr
    assert f"Tried: {python} (3.12)." in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_failed_set_up_leaves_no_stamp(tmp_path: Path) -> None:
    (tmp_path / ".venv").mkdir()

    done = make(tmp_path, "quick", f"PYTHON={python_that_prints('3.11', tmp_path)}")

    assert done.returncode == 2
    assert list((tmp_path / ".venv").iterdir()) == []


def test_set_up_runs_once_until_its_inputs_change(tmp_path: Path) -> None:
    assert "pip install" in make(tmp_path, "--dry-run", "quick").stdout

    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / ".ready").touch()
    ready = (tmp_path / ".venv" / ".ready").stat().st_mtime
    assert "pip install" not in make(tmp_path, "--dry-run", "quick").stdout

    for name in ("setup.cfg", "constraints.txt"):
        os.utime(tmp_path / name, (ready + 1, ready + 1))
        assert "pip install" in make(tmp_path, "--dry-run", "quick").stdout
        os.utime(tmp_path / name, (ready - 1, ready - 1))


def test_licence_is_mit() -> None:
    lines = (ROOT / "LICENSE").read_text().splitlines()

    assert lines[0] == "MIT License"
    assert lines[2].endswith("The recbole-missrec authors")


def run_python(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run code in an interpreter that has imported nothing yet."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


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
