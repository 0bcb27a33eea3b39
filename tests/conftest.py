"""Fixtures that tests of more than one package share."""

import os
from pathlib import Path

import pytest

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"
REAL_DATA = Path(os.environ.get("MISSREC_DATA", BESIDE))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real data sets: ``MISSREC_DATA``, or ``shared/data`` beside the repository."""
    return REAL_DATA


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Longest first; without the real data, which may not be redistributed, no test that reads it.

    The README's commands take minutes one after the other: begun last, they would run alone.
    """
    items.sort(key=lambda item: "test_readme" not in item.nodeid)
    if REAL_DATA.is_dir():
        return
    reading = [item for item in items if "real_data" in getattr(item, "fixturenames", ())]
    items[:] = [item for item in items if item not in reading]
    config.hook.pytest_deselected(items=reading)
    where = "MISSREC_DATA" if "MISSREC_DATA" in os.environ else "../shared/data"
    print(f"{where}: no real data there, {len(reading)} tests that read it are left out")
