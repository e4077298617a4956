"""`intraclip export`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from intraclip.cli.export import calibration_clips, loss_file
from intraclip.cli.main import run as run_command
from intraclip.config import InputConfig, ModelConfig, Recipe
from intraclip.errors import ConfigError, OutputError
from intraclip.export import write as write_module
from intraclip.models.embedder import build_embedder
from intraclip.models.saving import save_checkpoint
from intraclip.types import Split

RECIPE = Recipe(
    input=InputConfig(height=32, width=16),
    model=ModelConfig(backbone="small", head="ica", weights="", backbone_settings={"width": 0.5}),
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    model = build_embedder(RECIPE.model, RECIPE.input, num_classes=2, seed=0)
    save_checkpoint(tmp_path / "model.safetensors", model, recipe=RECIPE, pids=[1, 2], epoch=1, step=1)
    return tmp_path


def test_a_file_is_written_once_and_replaced_on_request(run: Path, capsys: pytest.CaptureFixture[str]):
    out = run / "a.pt2"
    flags = [str(run), "--format", "torch", "--out", str(out)]
    assert run_command("export", [*flags, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["file"] == str(out)
    assert found["part"] == "clip"
    assert found["cosine"] > 0.9999
    assert found["loss"] is None
    with pytest.raises(OutputError, match=r"exists; choose another --out, or add --force"):
        run_command("export", flags)
    assert run_command("export", [*flags, "--force", "--part", "frame"]) == 0


def test_a_file_that_another_process_wrote_meanwhile_stays(run: Path, monkeypatch: pytest.MonkeyPatch):
    out = run / "a.pt2"
    checking = write_module.check_reference

    def meanwhile(network):
        out.write_text("of the other one")
        return checking(network)

    monkeypatch.setattr(write_module, "check_reference", meanwhile)
    with pytest.raises(OutputError, match="made just now"):
        run_command("export", [str(run), "--format", "torch", "--out", str(out)])
    assert out.read_text() == "of the other one"


def test_requests_that_cannot_be_met_are_refused_before_any_work(tmp_path: Path):
    nowhere = str(tmp_path / "none")
    with pytest.raises(ConfigError, match=r"writes \.xml; choose such a name"):
        run_command("export", [nowhere, "--format", "openvino", "--out", str(tmp_path / "a.onnx")])
    with pytest.raises(ConfigError, match="int8 needs --data"):
        run_command(
            "export", [nowhere, "--format", "onnx", "--out", str(tmp_path / "a.onnx"), "--precision", "int8"]
        )
    assert list(tmp_path.iterdir()) == []


def test_calibration_clips_come_from_different_training_tracklets(tiny_split: Split):
    clips = calibration_clips(tiny_split.train, RECIPE, count=5)
    assert clips.shape == (5, RECIPE.clip.num_frames, 32, 16, 3)
    assert len({clip.tobytes() for clip in clips}) == 5
    assert np.array_equal(clips, calibration_clips(tiny_split.train, RECIPE, count=5))
    assert len(calibration_clips(tiny_split.train, RECIPE, count=99)) == len(tiny_split.train)


def test_the_loss_lies_beside_the_file():
    assert loss_file(Path("out/a.onnx")) == Path("out/a.onnx.json")


def test_the_loss_of_a_file_that_equals_its_origin_is_nothing(run: Path, tiny_split: Split):
    from intraclip.embed.encoders.loss import measure_loss
    from intraclip.export.write import write_network

    model = build_embedder(RECIPE.model, RECIPE.input, num_classes=2, seed=0).eval()
    frames = np.random.default_rng(0).integers(0, 256, (2, 32, 16, 3), dtype=np.uint8)
    for part in ("frame", "clip"):
        written = write_network(
            model,
            RECIPE,
            run / f"{part}.pt2",
            format="torch",
            part=part,
            frames=frames,  # type: ignore[arg-type]
        )
        found = measure_loss(model, RECIPE, tiny_split, written)
        assert found["loss"] == {"rank1": 0, "mAP": 0}
        assert found["cosine"]["lowest"] > 0.999999
        assert 0 < found["original"]["mAP"] <= 1
        json.dumps(found)
