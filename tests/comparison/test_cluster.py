"""The command ``compare`` on a Ray cluster, one of this machine alone."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.shops import write_tiny_shop

SCRIPT = str(Path(__file__).parents[2] / "run_recbole_missrec.py")


@pytest.fixture
def cluster() -> Iterator[str]:
    """Its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # its sockets need a short path
    program = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block"]
    program += [f"--port={address.partition(':')[2]}", "--num-cpus=1", f"--temp-dir={folder}"]
    program += ["--include-dashboard=false", "--object-store-memory=100000000"]
    environment = os.environ | {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if "Ray runtime started" in line:
                break
        assert said and "Ray runtime started" in said[-1], "".join(said)
        yield address
        process.terminate()  # and what it has started
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow  # a cluster and four interpreters start
def test_a_grid_on_a_cluster(cluster: str, tmp_path: Path) -> None:
    shop = write_tiny_shop(tmp_path)
    words = [sys.executable, SCRIPT, "compare", "--datasets=tiny", f"--data_path={shop}"]
    words += ["--report=False", "--models=Pop,LastItem"]
    for out, where in (("there", [f"--cluster={cluster}"]), ("here", [])):
        command = [*words, f"--out={tmp_path / out}", *where]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    for path in (tmp_path / "here").glob("*.json"):
        if path.name != "plan.json":
            own, other = (
                json.loads((tmp_path / out / path.name).read_text()) for out in ("here", "there")
            )
            assert (own["valid"], own["test"]) == (other["valid"], other["test"])
    files = [sorted(path.name for path in (tmp_path / out).iterdir()) for out in ("here", "there")]
    assert files[0] == files[1] and len([name for name in files[0] if "parquet" in name]) == 2


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:port"])
def test_no_cluster_there(tmp_path: Path, address: str) -> None:
    shop = write_tiny_shop(tmp_path)
    words = ["compare", "--datasets=tiny", f"--data_path={shop}", "--models=Pop", "--out=out"]
    command = [sys.executable, SCRIPT, *words, f"--cluster={address}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert f"--cluster={address}: no Ray cluster there" in done.stderr
