"""A new gallery for every test, and a program that talks to its service."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest


class Service(NamedTuple):
    process: subprocess.Popen[str]
    port: int
    lines: Callable[[], list[str]]


# Without the extra `serve`; on a CI machine the imports below fail instead, so that nothing is left out unnoticed.
if os.environ.get("CI") != "true" and not (find_spec("fastapi") and find_spec("prometheus_client")):
    collect_ignore_glob = ["test_*.py"]
else:
    from fastapi.testclient import TestClient

    from intraclip.gallery.gallery import Gallery, open_gallery
    from serve.serve_world import client, make_gallery

    @pytest.fixture(scope="session")
    def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
        """Made once; every test gets a copy."""
        folder = tmp_path_factory.mktemp("prepared") / "gallery"
        make_gallery(folder).close()
        return folder

    @pytest.fixture
    def gallery(prepared: Path, tmp_path: Path) -> Iterator[Gallery]:
        shutil.copytree(prepared, tmp_path / "gallery")
        with open_gallery(tmp_path / "gallery") as opened:
            yield opened

    @pytest.fixture
    def service(prepared: Path, tmp_path: Path) -> Iterator[Callable[..., Service]]:
        """Starts a service in a process of its own: the process, its port, and its lines once it has ended."""
        shutil.copytree(prepared, tmp_path / "served")
        started: list[subprocess.Popen[str]] = []

        def start(*flags: str) -> Service:
            command = [sys.executable, "-m", "serve.serve_process", str(tmp_path / "served"), *flags]
            process = subprocess.Popen(
                command, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
            )
            started.append(process)
            assert process.stderr is not None
            for line in process.stderr:
                told = json.loads(line)
                if told["event"] == "listening":
                    break
            else:
                raise AssertionError("the service did not start")
            stream = process.stderr
            return Service(process, told["port"], lambda: stream.read().splitlines())

        yield start
        for process in started:
            process.kill()
            process.wait()
            assert process.stderr is not None
            process.stderr.close()

    @pytest.fixture
    def api(gallery: Gallery) -> Iterator[TestClient]:
        with client(gallery) as made:
            yield made
