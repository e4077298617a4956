from __future__ import annotations

import pytest
import torchvision

from intraclip.embed.encoders.foreign import network_config
from intraclip.errors import CheckpointError, ConfigError
from intraclip.models.zoo import entries, find_weights, how_to_get, named, settings_of
from intraclip.models.zoo.catalogue import _TORCHVISION, DETECTORS

WANTED = (
    *(f"person-reidentification-retail-{number}" for number in ("0277", "0286", "0287", "0288")),
    "osnet_x1_0",
    "osnet_ain_x1_0",
    "yolox_nano",
    "yolox_tiny",
    "resnet50-imagenet",
    *DETECTORS,
)


@pytest.mark.parametrize("model", _TORCHVISION)
def test_what_is_written_down_of_torchvisions_models_is_what_it_says(model: str):
    weights = torchvision.models.get_model_weights(model)[
        "COCO_V1" if model in DETECTORS else "IMAGENET1K_V1"
    ]
    entry = named(model if model in DETECTORS else f"{model}-imagenet")
    (data, metrics), (score,) = next(iter(weights.meta["_metrics"].items())), entry.scores
    assert entry.files[0].url == weights.url
    assert entry.parameters == round(weights.meta["num_params"] / 1e6, 2)
    assert entry.megabytes == round(weights.meta["_file_size"], 1)
    assert (score.data, score.values) == (data, ", ".join(f"{key} {value}" for key, value in metrics.items()))


def test_what_people_look_for_is_in_it():
    assert set(WANTED) <= set(entries())


@pytest.mark.parametrize("name", sorted(entries()))
def test_an_entry_says_what_it_is_and_how_it_is_had_and_opened(name: str):
    entry = named(name)
    assert entry.name == name
    assert entry.what.endswith(".")
    assert entry.licence
    assert entry.trained_on
    assert entry.shipped or entry.files
    ways = (
        bool(entry.shipped),
        bool(entry.by_hand),
        all(file.url.startswith("https://") for file in entry.files),
    )
    assert sum(ways) == 1
    for score in entry.scores:
        assert score.data
        assert score.source
    for file in entry.files:
        assert len(file.sha256) in (0, 8, 64)
        assert all(len(digest) == 64 for digest in file.copies)
    if entry.kind == "re-ID network":
        assert network_config(settings_of(entry), source=name).height == 256
    if entry.kind == "backbone":
        assert entry.backbone


def test_what_is_not_here_says_how_to_get_it_with_and_without_internet(tmp_path, monkeypatch):
    monkeypatch.setenv("INTRACLIP_CACHE", str(tmp_path))
    with pytest.raises(
        CheckpointError,
        match=rf"resnet50-imagenet is not here yet \(97\.8 MB\): get it with `intraclip models get resnet50-imagenet`; "
        rf"without internet, fetch https\S+ elsewhere and put \S+\.pth into {tmp_path}/models/resnet50-imagenet",
    ):
        find_weights("resnet50-imagenet")
    assert "export the one you want" in how_to_get(named("osnet_x1_0"))
    assert not list(tmp_path.iterdir())


def test_a_name_of_another_kind_and_an_unknown_one_are_refused():
    with pytest.raises(ConfigError, match="yolox_nano is a detector, wanted here: backbone or checkpoint"):
        find_weights("yolox_nano")
    with pytest.raises(ConfigError, match=r"the zoo has no 'yolox_nan' \(did you mean 'yolox_nano'\?\)"):
        named("yolox_nan")


def test_a_file_of_that_name_is_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "yolox_nano").write_bytes(b"")
    assert find_weights("yolox_nano").name == "yolox_nano"
