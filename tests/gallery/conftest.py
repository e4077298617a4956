"""Galleries of every store. Those on a Milvus server are slow; the server is started once."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from gallery.gallery_world import MODEL, SIZE
from intraclip.gallery.gallery import Gallery, create_gallery, open_gallery
from intraclip.gallery.milvus_server import NOTES, PICTURES, TRACKLETS

Make = Callable[..., Gallery]


# The package leaks sockets, so it gets a process of its own, which ends with this one: its standard input ends then.
SERVER = """
import sys
from milvus import MilvusServer, MilvusServerConfig
server = MilvusServer(MilvusServerConfig(data_dir=sys.argv[1]))
server.start()
print(server.listen_port, flush=True)
sys.stdin.read()
server.stop()
"""


@pytest.fixture(scope="session")
def milvus_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Host and port of a real server."""
    for package in ("pymilvus", "milvus"):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    command = [sys.executable, "-c", SERVER, str(tmp_path_factory.mktemp("milvus"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        assert port, "the Milvus server did not start"
        yield f"127.0.0.1:{port}"
        process.stdin.close()


@pytest.fixture(scope="session")
def milvus_galleries(milvus_server: str) -> Callable[[str], str]:
    """Address of an emptied gallery by metric: making collections takes a server ten seconds."""
    made: dict[str, str] = {}

    def empty(metric: str) -> str:
        if metric not in made:
            made[metric] = f"milvus+http://{milvus_server}/{metric}{time.time_ns()}"
            create_gallery(
                made[metric], fingerprint=MODEL, dimension=SIZE, metric=metric, model="a model"
            ).close()
        else:
            gallery = open_gallery(made[metric])
            server = gallery._store._server
            server.delete(TRACKLETS, 'id != ""')
            server.delete(PICTURES, 'key != ""')
            server.delete(NOTES, 'kind != "info"')
            gallery.close()
        return made[metric]

    return empty


@pytest.fixture(params=["folder", pytest.param("milvus", marks=pytest.mark.slow)])
def address_of(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """Address of a new gallery of a metric."""
    if request.param == "milvus":
        return request.getfixturevalue("milvus_galleries")

    def new(metric: str) -> str:
        address = str(tmp_path / metric)
        create_gallery(address, fingerprint=MODEL, dimension=SIZE, metric=metric, model="a model").close()
        return address

    return new


@pytest.fixture
def make(address_of: Callable[[str], str]) -> Iterator[Make]:
    """Opens a new gallery of a metric; closes it at the end."""
    opened: list[Gallery] = []

    def new(metric: str = "euclidean") -> Gallery:
        opened.append(open_gallery(address_of(metric)))
        return opened[-1]

    yield new
    for gallery in opened:
        gallery.close()
