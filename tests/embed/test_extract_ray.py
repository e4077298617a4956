"""Extraction on a local Ray cluster, one of whose workers dies."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from conftest import write_tracklet
from intraclip.config import ClipConfig
from intraclip.embed.embeddings_io import read_embeddings
from intraclip.embed.extract import extractor_of
from intraclip.embed.extract_job import extract_split
from intraclip.embed.extractors import ExtractSettings
from intraclip.errors import DataError, MissingExtraError
from intraclip.models.embedder import build_embedder
from intraclip.types import Split
from plain_extraction import SIZE, network

SETTINGS = ExtractSettings(clip=ClipConfig(), max_frames=16, workers=0)


def split_in(root: Path) -> Split:
    tracklets = tuple(
        write_tracklet(root, pid=pid, camid=camid, frames=2 + pid) for camid in (1, 2) for pid in range(1, 9)
    )
    return Split(
        dataset="folder", root=root, train=(), query=tracklets[:8], gallery=tracklets[8:], protocol="cross-camera"
    )  # fmt: skip


def test_without_ray_the_install_command_is_named(tmp_path, monkeypatch):
    from intraclip.embed.extract_ray import extract_with_ray

    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"ray is not installed; run: pip install 'intraclip\[ray\]'"):
        extract_with_ray(
            lambda: extractor_of(network("tap")), split_in(tmp_path / "d"), SETTINGS, tmp_path / "e.npz"
        )


@pytest.mark.slow  # half a minute goes into starting a cluster
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning")
def test_a_dead_worker_is_replaced_and_the_embeddings_are_the_same(tmp_path):
    ray = pytest.importorskip("ray")
    from intraclip.embed.extract_ray import extract_with_ray

    split, marker, driver = split_in(tmp_path / "d"), tmp_path / "died", os.getpid()
    config = network("ica").config

    def opener():  # defined in here, so that it travels to the workers whole
        extractor = extractor_of(build_embedder(config, SIZE, num_classes=3, seed=0).eval())
        start = extractor.encoder.start

        def dying(frames):
            if os.getpid() != driver and not marker.exists():
                marker.write_text(str(os.getpid()))
                os.kill(os.getpid(), signal.SIGKILL)
            return start(frames)

        extractor.encoder.start = dying
        return extractor

    try:
        calls: list[tuple[int, int]] = []
        extracted = extract_with_ray(
            opener, split, SETTINGS, tmp_path / "ray.npz", progress=lambda *call: calls.append(call)
        )
        assert int(marker.read_text()) != driver
        assert extracted.tracklets == 16
        assert calls == [(n + 1, len(calls)) for n in range(len(calls))]
        extract_split(opener(), split, SETTINGS, tmp_path / "one.npz")
        many, one = (read_embeddings(tmp_path / name) for name in ("ray.npz", "one.npz"))
        assert many.embeddings.names == one.embeddings.names
        assert many.fingerprint == one.fingerprint
        assert np.abs(many.embeddings.features - one.embeddings.features).max() < 1e-5

        split.query[3].frame_path(0).unlink()
        with pytest.raises(DataError, match=split.query[3].name):
            extract_with_ray(opener, split, SETTINGS, tmp_path / "broken.npz")
        assert not (tmp_path / "broken.npz").exists()
        assert not ray.is_initialized()
    finally:
        ray.shutdown()
