from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from intraclip.config import AugmentConfig
from intraclip.data.augment import AugmentParameters, apply, draw, lift, normalise

HALF = (0.5, 0.5, 0.5)
ALWAYS = {
    "crop_probability": 1.0,
    "flip_probability": 1.0,
    "rotate_probability": 1.0,
    "erase_probability": 1.0,
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def same_frames(clips: int = 3, frames: int = 4, height: int = 32, width: int = 16) -> torch.Tensor:
    """Clips of identical frames."""
    images = torch.randint(0, 256, (clips, 1, 3, height, width), dtype=torch.uint8, generator=generator(1))
    return images.expand(clips, frames, 3, height, width).contiguous()


def drawn(config: AugmentConfig, *, clips: int = 2000, frames: int = 4, seed: int = 0) -> AugmentParameters:
    return draw(config, clips=clips, frames=frames, height=256, width=128, generator=generator(seed))


@pytest.mark.parametrize("only", ["crop", "flip", "rotate", "erase", "all"])
def test_synchronous_keeps_identical_frames_identical_and_asynchronous_does_not(only):
    frames = same_frames(clips=8)
    chances = {key: float(only == "all" or key.startswith(only)) for key in ALWAYS}
    if only == "flip":
        chances["flip_probability"] = 0.5  # a certain flip is the same for every frame in either mode
    for mode, equal in (("synchronous", True), ("asynchronous", False)):
        config = AugmentConfig(mode=mode, **chances)
        parameters = draw(config, clips=8, frames=4, height=32, width=16, generator=generator())
        result = apply(frames, parameters, mean=HALF, std=HALF)
        assert bool((result == result[:, :1]).all()) is equal
        assert not torch.equal(result, normalise(frames, mean=HALF, std=HALF))


def test_a_clip_is_left_unchanged_with_the_probability_that_no_coin_falls():
    parameters = drawn(AugmentConfig())
    unchanged = (
        (parameters.crop[..., 2] == 256)
        & ~parameters.flip
        & (parameters.erase[..., 2] == 0)
        & (parameters.angle == 0)
    )
    share = unchanged.float().mean().item()
    # A crop of scale close to 1 rounds to the whole frame now and then, hence a little above 1/8.
    assert 0.10 < share < 0.16


def test_mode_none_changes_nothing():
    frames = same_frames()
    parameters = draw(
        AugmentConfig(mode="none", **ALWAYS), clips=3, frames=4, height=32, width=16, generator=generator()
    )
    assert torch.equal(apply(frames, parameters, mean=HALF, std=HALF), normalise(frames, mean=HALF, std=HALF))


def test_flip_and_erase_frequencies_follow_their_probabilities():
    parameters = drawn(AugmentConfig(flip_probability=0.3, erase_probability=0.8), clips=4000)
    assert parameters.flip.float().mean().item() == pytest.approx(0.3, abs=0.03)
    assert (parameters.erase[..., 2] > 0).float().mean().item() == pytest.approx(0.8, abs=0.03)


def test_asynchronous_frames_are_drawn_independently():
    flips = drawn(AugmentConfig(mode="asynchronous")).flip.float()
    assert flips.shape == (2000, 4)
    correlation = np.corrcoef(flips.numpy().T)
    assert abs(correlation - np.eye(4)).max() < 0.1


def test_crop_scale_and_place_are_even():
    crop = drawn(AugmentConfig(crop_probability=1.0, crop_scale=(0.5, 1.0))).crop[:, 0].double()
    top, left, height, width = crop.unbind(-1)
    scale = height / 256
    assert scale.min() >= 0.5
    assert scale.max() <= 1.0
    assert scale.mean().item() == pytest.approx(0.75, abs=0.01)
    assert scale.var().item() == pytest.approx(0.5**2 / 12, rel=0.1)
    assert (height / 256 - width / 128).abs().max() < 0.01  # one scale for both sides
    assert (top + height).max() <= 256
    assert (left + width).max() <= 128
    room = 256 - height
    position = (top / room)[room > 20]
    assert position.mean().item() == pytest.approx(0.5, abs=0.02)
    assert position.var().item() == pytest.approx(1 / 12, rel=0.1)


def test_erased_area_and_aspect_lie_in_their_ranges():
    erase = drawn(AugmentConfig(erase_probability=1.0)).erase[:, 0].double()
    top, left, height, width = erase.unbind(-1)
    assert (height > 0).all()
    area = height * width / (256 * 128)
    assert area.min() >= 0.019  # rounding to whole pixels
    assert area.max() <= 0.405
    assert (top + height).max() <= 256
    assert (left + width).max() <= 128
    aspect = (height / width).log()
    assert aspect.min() >= math.log(0.3) - 0.1
    assert aspect.max() <= math.log(3.33) + 0.1
    # Wide and large boxes do not fit a frame of 2:1 and are drawn again; small ones show the raw draw.
    small = aspect[area < 0.1]
    assert small.mean().item() == pytest.approx(0.0, abs=0.05)
    assert small.var().item() == pytest.approx((math.log(3.33) - math.log(0.3)) ** 2 / 12, rel=0.1)


def test_rotation_angles_are_even():
    angle = drawn(AugmentConfig(rotate_probability=1.0, rotate_degrees=20)).angle
    assert angle.abs().max() <= 20
    assert angle.mean().item() == pytest.approx(0.0, abs=0.6)
    assert angle.var().item() == pytest.approx(40**2 / 12, rel=0.1)


def one(**changes: torch.Tensor) -> AugmentParameters:
    """Parameters of one clip that do nothing but what is given."""
    values = {
        "crop": torch.tensor([[[0, 0, 64, 32]]]),
        "flip": torch.tensor([[False]]),
        "angle": torch.tensor([[0.0]]),
        "erase": torch.tensor([[[0, 0, 0, 0]]]),
    }
    return AugmentParameters(**{**values, **changes})


def picture() -> np.ndarray:
    """A smooth random picture, uint8 [64, 32, 3]."""
    coarse = np.random.default_rng(0).integers(0, 256, (8, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((32, 64), Image.Resampling.BICUBIC))


def applied(parameters: AugmentParameters) -> np.ndarray:
    """Result of an operation on the picture, back in 0..255, [64, 32, 3]."""
    frames = torch.from_numpy(picture().copy()).permute(2, 0, 1)[None, None]
    result = apply(frames, parameters, mean=(0, 0, 0), std=(1, 1, 1))
    return (result[0, 0].permute(1, 2, 0) * 255).numpy()


def test_flip_equals_numpy():
    assert np.allclose(applied(one(flip=torch.tensor([[True]]))), picture()[:, ::-1], atol=1e-3)


def test_crop_equals_pillow():
    expected = np.asarray(
        Image.fromarray(picture()).crop((5, 7, 5 + 24, 7 + 48)).resize((32, 64), Image.Resampling.BILINEAR)
    )
    result = applied(one(crop=torch.tensor([[[7, 5, 48, 24]]])))
    assert abs(result - expected).max() <= 1.01  # both round to whole grey levels


@pytest.mark.parametrize("angle", [-17.0, 9.5])
def test_rotation_equals_pillow(angle):
    expected = np.asarray(Image.fromarray(picture()).rotate(angle, Image.Resampling.BILINEAR)).astype(float)
    result = applied(one(angle=torch.tensor([[angle]])))
    # At the border the two libraries fade to black over different pixels; inside they agree.
    inside = (slice(16, 48), slice(8, 24))
    assert abs(result[inside] - expected[inside]).max() <= 2.0


def test_erase_is_zero_after_normalisation_and_touches_nothing_else():
    frames = torch.from_numpy(picture().copy()).permute(2, 0, 1)[None, None]
    result = apply(
        frames, one(erase=torch.tensor([[[10, 4, 20, 8]]])), mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4)
    )
    plain = normalise(frames, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    assert (result[..., 10:30, 4:12] == 0).all()
    plain[..., 10:30, 4:12] = 0
    assert torch.equal(result, plain)


def test_normalisation_scales_linearly_to_minus_one_and_one():
    frames = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 4, 4)
    result = normalise(frames, mean=HALF, std=HALF)
    assert result[0].eq(-1).all()
    assert result[1].eq(1).all()


def test_one_draw_can_be_replayed_on_clips_of_another_length():
    parameters = draw(AugmentConfig(**ALWAYS), clips=3, frames=4, height=32, width=16, generator=generator())
    short = apply(same_frames(frames=2), parameters, mean=HALF, std=HALF)
    long = apply(same_frames(frames=7), parameters, mean=HALF, std=HALF)
    assert torch.equal(short[:, :1].expand_as(long), long)
    alone = apply(same_frames(frames=2)[1:2], parameters.clip(1), mean=HALF, std=HALF)
    assert torch.equal(alone, short[1:2])


def test_equal_generators_draw_equal_parameters():
    a, b = drawn(AugmentConfig(), seed=5), drawn(AugmentConfig(), seed=5)
    assert torch.equal(a.crop, b.crop)
    assert torch.equal(a.erase, b.erase)
    assert not torch.equal(a.erase, drawn(AugmentConfig(), seed=6).erase)


def test_parameters_of_another_batch_are_refused():
    parameters = draw(AugmentConfig(), clips=2, frames=4, height=32, width=16, generator=generator())
    with pytest.raises(ValueError, match="drawn for 2 clips"):
        apply(same_frames(clips=3), parameters, mean=HALF, std=HALF)
    with pytest.raises(ValueError, match="uint8"):
        apply(same_frames().float(), parameters, mean=HALF, std=HALF)


def test_a_library_transform_is_lifted_to_clips():
    clip = same_frames(clips=1, frames=5)[0]
    jitter = v2.Compose([v2.ColorJitter(0.8, 0.8, 0.8, 0.3), v2.RandomPerspective(p=1.0)])
    together = lift(jitter)(clip, generator())
    apart = lift(jitter, synchronous=False)(clip, generator())
    assert (together == together[:1]).all()
    assert not (apart == apart[:1]).all()
    assert not torch.equal(together, lift(jitter)(clip, generator(9)))


def test_lifting_replays_transforms_that_draw_from_numpy_and_python_and_leaves_their_state_alone():
    import random

    def jpeg(image: torch.Tensor) -> torch.Tensor:
        quality = int(np.random.randint(5, 95)) + random.randint(0, 4)  # noqa: NPY002
        file = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality)
        return torch.from_numpy(np.asarray(Image.open(file)).copy()).permute(2, 0, 1)

    clip = same_frames(clips=1, frames=3)[0]
    random.seed(11)
    expected = random.random()
    random.seed(11)
    together = lift(jpeg)(clip, generator())
    assert (together == together[:1]).all()
    assert random.random() == expected
