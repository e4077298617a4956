"""A teacher in OpenVINO's format gives in PyTorch what OpenVINO gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from real_data import real_data

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.mark.real_data
def test_it_gives_what_openvino_gives_in_any_batch(monkeypatch: pytest.MonkeyPatch):
    openvino = pytest.importorskip("openvino")
    monkeypatch.syspath_prepend(str(TOOLS))
    from openvino_module import OpenVINOModule

    xml = real_data("models/reid") / "person-reidentification-retail-0287.xml"
    pictures = np.random.default_rng(0).integers(0, 256, (3, 3, 256, 128)).astype(np.float32)
    with torch.inference_mode():
        found = OpenVINOModule(xml).eval()(torch.from_numpy(pictures)).numpy()
    network = openvino.Core().compile_model(xml, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    wanted = np.concatenate([network(picture[None])[0] for picture in pictures])
    assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max() + 1e-5


def test_what_it_does_not_know_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.syspath_prepend(str(TOOLS))
    from openvino_module import OpenVINOModule

    (tmp_path / "net.bin").write_bytes(b"")
    (tmp_path / "net.xml").write_text('<net><layers><layer id="0" type="TopK"/></layers><edges/></net>')
    with pytest.raises(ValueError, match="TopK"):
        OpenVINOModule(tmp_path / "net.xml")
