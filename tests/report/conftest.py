from __future__ import annotations

import pytest

from report.report_world import World, make_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Two trained and scored runs on a tiny world; read only."""
    return make_world(tmp_path_factory.mktemp("report"))
