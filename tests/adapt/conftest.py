"""A tiny site and a tiny network, untrained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from intraclip.config import ClipConfig, InputConfig, ModelConfig, Recipe
from intraclip.models.embedder import build_embedder
from intraclip.models.saving import save_checkpoint

PLAIN = np.array([[250, 20, 20], [20, 250, 20], [20, 20, 250], [250, 250, 20]])
COLOURS = np.stack([[np.stack([PLAIN[a], PLAIN[b]]) for b in range(4)] for a in range(3)])
"""Above and below the belt, of twelve people."""


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve people before two cameras, with the manifest that `ingest` writes: labels, times, recordings."""
    root = tmp_path_factory.mktemp("site")
    rng = np.random.default_rng(0)
    lines = ["tracklet,folder,pid,camid,subset,video,start_s,end_s"]
    for pid in range(1, 13):
        for camid in (1, 2):
            folder = root / f"tracklets/{camid}-{pid}"
            folder.mkdir(parents=True)
            for number in range(8):
                frame = np.repeat(COLOURS[pid % 3, pid // 3 % 4].astype(float), (24, 24), axis=0)[:, None]
                frame = frame * (1.0 if camid == 1 else 0.9) + rng.normal(0, 4, (48, 24, 3))
                picture = np.clip(frame, 0, 255).astype(np.uint8)
                (folder / f"{number}.jpg").write_bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(picture)))
            start = 10 * pid - (5 if pid == 2 else 0)  # the second is there before the first has gone
            name = f"cam{camid}_t{pid:04d}"
            lines.append(f"{name},tracklets/{camid}-{pid},,{camid},,cam{camid}.mp4,{start},{start + 6}")
    (root / "tracklets.csv").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory, site: Path) -> Path:
    """An untrained network; its recipe is the tests' own."""
    recipe = Recipe(
        seed=3,
        device="cpu",
        input=InputConfig(height=32, width=16),
        clip=ClipConfig(num_frames=2),
        model=ModelConfig(backbone="small", head="ica", weights="", backbone_settings={"width": 0.5}),
    )
    file = tmp_path_factory.mktemp("network") / "model.safetensors"
    model = build_embedder(recipe.model, recipe.input, num_classes=2, seed=3).eval()
    save_checkpoint(file, model, recipe=recipe, pids=[1, 2], epoch=1, step=1)
    return file
