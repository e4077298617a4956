"""Real material for tests marked `real_data`: it lies beside the checkout, or where INTRACLIP_REAL_DATA says."""

import os
from pathlib import Path

import pytest


def real_data(name: str) -> Path:
    """Folder or file `name` of the real material.

    Skips the test where it is absent; fails instead on a CI machine (CI=true), where it must not get lost unnoticed.
    """
    override = os.environ.get("INTRACLIP_REAL_DATA")
    folder = Path(override) if override else Path(__file__).resolve().parents[2] / "shared" / "data"
    path = folder / name
    if path.exists():
        return path
    if os.environ.get("CI") == "true":
        pytest.fail(f"the real material {name} is not in {folder}; set INTRACLIP_REAL_DATA")
    pytest.skip(f"no real material {name} in {folder}")
