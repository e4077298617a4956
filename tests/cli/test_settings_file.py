"""`--config FILE.toml`: its keys are the flags."""

from __future__ import annotations

from pathlib import Path

import pytest

from intraclip.cli.common import parse
from intraclip.cli.ingest import IngestArgs
from intraclip.cli.main import main
from intraclip.cli.serve import ServeArgs
from intraclip.errors import ConfigError

TEXT = """
detector = "yolox nano.onnx"
frame-stride = 2
min_frames = 12
camera-motion = false
same_camera = true
max-fps = 5
tracks = ["-a.txt", "b.txt"]
[cameras]
"lobby.mp4" = 4
"yard.mp4" = 7
"""


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    (tmp_path / "site.toml").write_text(TEXT)
    return tmp_path / "site.toml"


def test_keys_are_flags_and_flags_win(settings: Path):
    text = settings.read_text().replace('"-a.txt"', '"a.txt"')
    settings.write_text(text)
    args = parse(
        IngestArgs,
        ["a.mp4", "b.mp4", "--config", str(settings), "--min-frames=3", "--out", "o", "--tracks", "c.txt"],
        command="ingest",
    )
    assert args.videos == (Path("a.mp4"), Path("b.mp4"))
    assert args.detector == Path("yolox nano.onnx")
    assert args.settings.frame_stride == 2
    assert args.settings.min_frames == 3
    assert args.tracks == (Path("c.txt"),)
    assert args.settings.cameras == {"lobby.mp4": 4, "yard.mp4": 7}
    assert (args.settings.camera_motion, args.settings.same_camera, args.settings.max_fps) == (False, True, 5)
    again = parse(IngestArgs, ["a.mp4", f"--config={settings}", "--out", "o"], command="ingest")
    assert again.tracks == (Path("a.txt"), Path("b.txt"))
    assert again.settings.min_frames == 12


def test_all_wrong_keys_are_refused_at_once(tmp_path: Path):
    (tmp_path / "serve.toml").write_text(
        'prot = 1\nproxy = "yes"\nport = [1]\nhost = "::1"\n[tls]\ncert = "c"\n'
    )
    with pytest.raises(ConfigError) as caught:
        parse(ServeArgs, ["g", "--config", str(tmp_path / "serve.toml")], command="serve")
    message = str(caught.value)
    assert "4 keys" in message
    for part in (
        "prot: no such flag (did you mean 'port'?)",
        "proxy: 'yes'",
        "port: [1]",
        "tls.cert: no such",
    ):
        assert part in message
    assert "host" not in message


def test_a_file_that_is_none_or_a_wrong_value_is_one_clear_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["serve", "g", "--config", str(tmp_path / "none.toml")]) == 2
    assert "none.toml cannot be read" in capsys.readouterr().err
    assert main(["serve", "g", "--config"]) == 2
    assert "name a TOML file" in capsys.readouterr().err
    (tmp_path / "serve.toml").write_text('port = "many"\n')
    with pytest.raises(SystemExit) as caught:
        main(["serve", "g", "--config", str(tmp_path / "serve.toml")])
    assert caught.value.code == 2
    err = capsys.readouterr().err
    assert "--port" in err
    assert f"some of these flags come from {tmp_path / 'serve.toml'}" in err
