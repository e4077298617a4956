from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from intraclip.config import ClipConfig, InputConfig, ModelConfig
from intraclip.core.tensor_digest import digest
from intraclip.models.embedder import ClipEmbedder, build_embedder
from intraclip.models.fingerprint import encoder_fingerprint, fingerprint_of

SIZE = InputConfig(height=32, width=16)
CONFIG = ModelConfig(backbone="small", head="ica", weights="", backbone_settings={"width": 0.5})


def build(config: ModelConfig = CONFIG, size: InputConfig = SIZE, seed: int = 0) -> ClipEmbedder:
    return build_embedder(config, size, num_classes=3, seed=seed)


def test_what_changes_no_embedding_changes_no_fingerprint():
    model, clip = build(), ClipConfig()
    before = fingerprint_of(model, clip)
    with torch.no_grad():
        model.classifier.weight.add_(1)
    model.backbone.to(memory_format=torch.channels_last)
    assert fingerprint_of(model.train(), replace(clip, short="wrap", sampling="strided")) == before
    assert fingerprint_of(build(replace(CONFIG, triplet_reads="embedding")), clip) == before
    whole = ClipConfig(test_sampling="all")
    assert fingerprint_of(model, whole) == fingerprint_of(model, replace(whole, num_frames=9))


def test_what_changes_an_embedding_changes_the_fingerprint():
    clip = ClipConfig()
    changed = build()
    with torch.no_grad():
        changed.head.bottleneck[0].weight[0, 0] += 1e-6
    statistics = build()
    statistics.backbone.get_buffer(
        next(n for n, _ in statistics.backbone.named_buffers() if n.endswith("running_mean"))
    ).add_(1e-6)
    found = [
        fingerprint_of(build(), clip),
        fingerprint_of(build(seed=1), clip),
        fingerprint_of(changed, clip),
        fingerprint_of(statistics, clip),
        fingerprint_of(build(replace(CONFIG, head="tap")), clip),
        fingerprint_of(build(replace(CONFIG, head_settings={"order": "fc-bn-relu"})), clip),
        fingerprint_of(build(replace(CONFIG, neck="bn")), clip),
        fingerprint_of(build(replace(CONFIG, standardise=True)), clip),
        *(
            fingerprint_of(build(replace(CONFIG, head="stripes", head_settings={"stripes": n})), clip)
            for n in (2, 3)
        ),
        *(fingerprint_of(build(replace(CONFIG, head="trl", neck=neck)), clip) for neck in ("none", "bn")),
        fingerprint_of(build(size=replace(SIZE, height=48)), clip),
        fingerprint_of(build(size=replace(SIZE, mean=(0.4, 0.5, 0.5))), clip),
        fingerprint_of(build(), replace(clip, num_frames=8)),
        fingerprint_of(build(), replace(clip, test_sampling="even")),
        fingerprint_of(build(), replace(clip, test_sampling="all")),
    ]
    assert len(set(found)) == len(found)
    assert encoder_fingerprint(build()) == encoder_fingerprint(changed) != encoder_fingerprint(statistics)


def test_settings_of_later_versions_leave_earlier_fingerprints_as_they_were():
    model = build(replace(CONFIG, head="trl"))
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            tensor.fill_(1)
    assert fingerprint_of(model, ClipConfig()).startswith("96818e05ea353c0f")


@pytest.mark.parametrize(
    "other",
    [
        {"w": torch.zeros(6)},
        {"w": torch.zeros(2, 3, dtype=torch.float64)},
        {"v": torch.zeros(2, 3)},
        {"w": torch.zeros(2, 3), "x": torch.zeros(0)},
        {"w": torch.zeros(3, 2)},
    ],
)
def test_names_shapes_and_kinds_count(other):
    assert digest({}, other) != digest({}, {"w": torch.zeros(2, 3)})


def test_bfloat16_and_scalars_can_be_hashed():
    assert digest({}, {"a": torch.ones(3, dtype=torch.bfloat16), "n": torch.tensor(7)}) != digest(
        {}, {"a": torch.ones(3, dtype=torch.bfloat16), "n": torch.tensor(8)}
    )
