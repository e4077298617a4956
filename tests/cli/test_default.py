"""Commands that embed, where no network is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from conftest import write_tracklet
from intraclip.cli.main import main
from intraclip.cli.serve import ServeArgs, _embedder
from intraclip.embed import network
from intraclip.embed.default import networks_here
from intraclip.embed.embeddings_io import read_embeddings
from intraclip.embed.encoders import open_encoder
from intraclip.gallery.gallery import create_gallery, open_gallery
from intraclip.models.zoo import named
from intraclip.models.zoo.cache import take
from real_data import real_data

SAID = "network: base, which comes with intraclip"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two people in two cameras, unlabelled; an empty cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INTRACLIP_CACHE", str(tmp_path / "cache"))
    rows = ["tracklet,folder,pid,camid,subset"]
    for pid in (1, 2):
        for camid in (1, 2):
            name = f"cam{camid}_t{pid:04d}"
            write_tracklet(tmp_path / "data" / name, pid=pid, camid=camid, frames=3)
            rows.append(f"{name},{name}/{pid:04d},-2,{camid},gallery")
    (tmp_path / "data/tracklets.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return tmp_path


def test_a_gallery_is_made_added_to_searched_and_served_without_naming_a_network(here: Path, capsys):
    assert main(["gallery", "add", "g", "--data", "data"]) == 0
    said = capsys.readouterr().err
    assert SAID in said
    assert (
        "probabilities were learned from rendered people; calibrate with your own: intraclip gallery calib"
        in said
    )
    assert main(["gallery", "add", "g", "--data", "data"]) == 0
    said = capsys.readouterr().err
    assert "network: base, which made the gallery g" in said
    assert "added 0 tracklets, 4 were there already" in said
    assert main(["gallery", "search", "g", "--tracklet", "cam1_t0001"]) == 0
    assert "probability" in (shown := capsys.readouterr().out)
    assert "learned from rendered people" in shown
    with open_gallery("g") as gallery:
        assert _embedder(ServeArgs(gallery="g"), gallery) is not None
    with create_gallery("other", fingerprint="f" * 64, dimension=8, model="theirs") as gallery:
        assert _embedder(ServeArgs(gallery="other"), gallery) is None


def test_a_gallery_of_another_network_keeps_its_own(here: Path, capsys):
    assert main(["gallery", "add", "g", "--data", "data", "--sampling", "all"]) == 0
    assert main(["gallery", "add", "g", "--data", "data"]) == 2
    assert "the gallery g holds embeddings of base (torch)" in capsys.readouterr().err


def test_extract_rank_and_link_embed_with_it_and_say_so(here: Path, capsys):
    assert main(["extract", "--data", "data", "--out", "e.npz"]) == 0
    assert SAID in capsys.readouterr().err
    assert read_embeddings(Path("e.npz")).embeddings.features.shape == (4, 256)
    assert main(["rank", "--data", "data", "--query", "cam1_t0001", "--out", "r.png"]) == 0
    assert SAID in capsys.readouterr().err
    assert main(["link", "data", "--out", "people", "--json"]) == 0
    shown = capsys.readouterr()
    assert SAID in shown.err
    found = json.loads(shown.out)
    assert len(found["tracklets"]) == 4
    assert any("learned from rendered people" in note for note in found["notes"])
    assert "a probability of 0.9" in found["rule"]
    for flag, value in (("--model", "base"), ("--engine", "onnxruntime"), ("--device", "cpu")):
        assert main(["link", "e.npz", "--out", "again", flag, value]) == 2
        assert "embed a folder of tracklets" in capsys.readouterr().err


def test_link_embeds_with_the_engine_and_on_the_device_that_flags_name(here: Path, capsys, monkeypatch):
    opened: list[tuple[Any, Any]] = []

    def spy(source: Any, *, engine: str, device: str | None) -> Any:
        opened.append((engine, device))
        return open_encoder(source, engine="torch", device=device)  # the same vectors, without an export

    people = []
    with monkeypatch.context() as patched:
        patched.setattr(network, "open_encoder", spy)
        for flags in ([], ["--engine", "onnxruntime", "--device", "cpu"]):
            assert main(["link", "data", "--out", f"people{len(flags)}", "--json", *flags]) == 0
            people.append(json.loads(capsys.readouterr().out)["tracklets"])
    assert opened == [("onnxruntime", "cpu")]  # the run's own torch opens none
    assert [row["person"] for row in people[0]] == [row["person"] for row in people[1]]
    assert main(["link", "data", "--out", "third", "--device", "tpu"]) == 2
    assert "'tpu' is" in capsys.readouterr().err
    assert main(["link", "data", "--out", "third", "--engine", "steam"]) == 2
    assert "steam" in capsys.readouterr().err
    assert not Path("third").exists()


@pytest.mark.real_data
def test_a_stronger_network_that_was_fetched_is_taken_and_said(here: Path, capsys):
    pytest.importorskip("openvino")
    name = "person-reidentification-retail-0287"
    take(named(name), [real_data(f"models/reid/{name}.{ending}") for ending in ("xml", "bin")])
    assert [entry.name for entry in networks_here()] == [name, "base"]
    assert main(["gallery", "add", "g", "--data", "data", "--sampling", "even"]) == 0
    assert f"network: {name}, which is in the cache" in capsys.readouterr().err
    assert main(["gallery", "add", "h", "--data", "data", "--model", "base"]) == 0
    assert main(["gallery", "add", "h", "--data", "data"]) == 0
    assert "network: base, which made the gallery h" in capsys.readouterr().err
