"""Fixtures that tests of more than one package share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real data sets: ``MISSREC_DATA``, or ``shared/data`` beside the repository."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MISSREC_DATA", beside))
    assert folder.is_dir(), f"{folder}: no real data there; set MISSREC_DATA to their folder"
    return folder
