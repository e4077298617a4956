"""Which network embeds where none is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conftest import write_tracklet
from intraclip.embed.encoders import open_encoder
from intraclip.embed.encoders.exported import cache_folder
from intraclip.embed.network import load
from intraclip.gallery.gallery import create_gallery
from intraclip.metrics.match_probability import MatchCalibration
from intraclip.models.zoo import files_of, named, shipped_calibrations
from intraclip.models.zoo.cache import check


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of four tracklets, seen by two cameras; an empty cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INTRACLIP_CACHE", str(tmp_path / "cache"))
    rows = ["tracklet,pid,camid,frames"]
    for pid in (1, 2):
        for camid in (1, 2):
            tracklet = write_tracklet(tmp_path / "data", pid=pid, camid=camid, frames=3)
            rows.append(f"{tracklet.name},,{camid},{' '.join(tracklet.frames)}")
    return tmp_path


def test_the_shipped_network_is_the_one_of_the_catalogue():
    base = named("base")
    assert check(base, files_of(base))[0].known_by == "the digest in the catalogue"
    assert files_of(base)[0].stat().st_size < 10e6


def test_base_opens_wherever_a_network_is_named_and_is_the_same(here: Path):
    by_name, by_file = load("base"), load(files_of(named("base"))[0])
    assert by_name.fingerprint == by_file.fingerprint
    assert by_name.name == by_file.name == "base (torch)"
    assert by_name.embedding_size == 256


def test_its_calibration_is_for_its_own_embeddings_and_says_whom_it_was_learned_from():
    (text,) = shipped_calibrations()
    calibration = MatchCalibration.from_json_dict(json.loads(text))
    assert calibration.fingerprint == load("base").fingerprint
    assert (calibration.metric, calibration.learned_from) == ("cosine", "rendered people")
    assert calibration.probability([0.1, 0.3, 0.6]).round(1).tolist() == [1.0, 0.9, 0.0]


def test_a_gallery_of_base_is_calibrated_from_the_start_and_no_other_is(here: Path):
    (text,) = shipped_calibrations()
    fingerprint = json.loads(text)["fingerprint"]
    with create_gallery("a", fingerprint=fingerprint, dimension=256) as gallery:
        assert gallery.calibration() is not None
    with create_gallery("b", fingerprint=fingerprint, dimension=256, metric="euclidean") as gallery:
        assert gallery.calibration() is None
    with create_gallery("c", fingerprint="f" * 64, dimension=256) as gallery:
        assert gallery.calibration() is None


def test_exported_engines_of_base_are_kept_in_the_users_cache(here: Path):
    encoder = open_encoder(Path("base"), engine="onnxruntime")
    (file,) = (here / "cache/exported").iterdir()
    assert encoder.fingerprint.startswith(file.stem.removeprefix("frame-"))
    own = here / "run"
    own.mkdir()
    assert cache_folder(own) == own / "exported"
