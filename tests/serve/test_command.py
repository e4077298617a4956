"""`intraclip serve`: what it refuses before it listens, and the gallery's own model as the maker of queries."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from intraclip.cli.main import run
from intraclip.config import ClipConfig, InputConfig, ModelConfig
from intraclip.embed.extract import extractor_of
from intraclip.embed.extractors import ExtractSettings
from intraclip.embed.network import Network
from intraclip.errors import ConfigError, DataError, OutputError
from intraclip.gallery.gallery import create_gallery
from intraclip.gallery.records import TrackletRecord
from intraclip.models.embedder import build_embedder
from intraclip.serve.app import create_app
from intraclip.serve.settings import DecodeLimits
from serve.serve_world import CHANGE, SECRET, ColourModel, TestClient, frame, jpeg


def test_beyond_loopback_it_does_not_start_without_a_token(prepared):
    for flags in (["--host", "0.0.0.0"], ["--allow-host", "people.example.org"]):
        with pytest.raises(ConfigError, match="a token is required"):
            run("serve", [str(prepared), *flags])


def test_wrong_flags_and_galleries_are_refused(prepared, tmp_path):
    with pytest.raises(ConfigError, match="belong together"):
        run("serve", [str(prepared), "--tls-cert", str(tmp_path / "cert.pem")])
    with pytest.raises(ConfigError, match="cannot be read"):
        run("serve", [str(prepared), "--token-file", str(tmp_path / "none")])
    with pytest.raises(DataError, match="is no gallery"):
        run("serve", [str(tmp_path / "none"), "--port", "0"])


def test_a_bad_certificate_is_refused(prepared, tmp_path):
    files = [tmp_path / "cert.pem", tmp_path / "key.pem"]
    for file in files:
        file.write_text("no certificate")
    tokens = tmp_path / "tokens"
    tokens.write_text(f"alice {SECRET}\n")
    tokens.chmod(0o600)
    with pytest.raises(ConfigError, match="cannot be used"):
        run("serve", [str(prepared), "--port", "0", "--tls-cert", str(files[0]), "--tls-key", str(files[1])])


def test_a_busy_port_is_an_error_before_anything_is_printed(prepared, capsys):
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(OutputError, match="choose another --port"),
    ):
        run("serve", [str(prepared), "--port", str(taken.getsockname()[1])])
    assert capsys.readouterr() == ("", "")


def test_another_model_than_the_gallerys_is_refused(gallery):
    other = ColourModel()
    other.fingerprint = "d" * 64
    with pytest.raises(DataError, match="cannot be compared"):
        create_app(gallery, embedder=other)


def test_the_gallerys_model_embeds_uploads(tmp_path: Path):
    network = build_embedder(
        ModelConfig(backbone="small", weights="", head="tap", backbone_settings={"width": 0.5}),
        InputConfig(height=32, width=16),
        num_classes=3,
        seed=0,
    ).eval()
    model = Network(extractor_of(network), ExtractSettings(clip=ClipConfig(num_frames=2)))
    people = [[jpeg(frame(person, t)) for t in range(4)] for person in range(3)]
    with create_gallery(
        tmp_path / "g", fingerprint=model.fingerprint, dimension=network.embedding_size
    ) as gallery:
        from intraclip.serve.decoding import read_pictures

        vectors = model.embed([read_pictures(p, DecodeLimits()) for p in people]).features
        gallery.add(
            [TrackletRecord(id=f"p{i}", camera="hall") for i in range(3)],
            vectors,
            fingerprint=model.fingerprint,
        )
        with TestClient(create_app(gallery, embedder=model), base_url="http://localhost") as api:
            for number, pictures in enumerate(people):
                files = [("files", ("x", p)) for p in pictures]
                found = api.post("/api/v1/search/upload", params={"k": 1}, files=files, headers=CHANGE).json()
                assert found["matches"][0]["tracklet"]["id"] == f"p{number}"
                assert found["matches"][0]["distance"] < 1e-4
