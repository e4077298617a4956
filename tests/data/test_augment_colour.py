from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from intraclip.config import AugmentConfig
from intraclip.data.augment import apply, draw
from intraclip.data.augment_colour import UNCHANGED, change_colours
from intraclip.data.normalise import normalise

HALF = (0.5, 0.5, 0.5)
STILL = AugmentConfig(crop_probability=0, flip_probability=0, erase_probability=0)
ONLY = {
    "colour": replace(STILL, colour_probability=1.0),
    "blur": replace(STILL, blur_probability=1.0),
    "noise": replace(STILL, noise_probability=1.0),
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def same_frames(clips: int = 6, frames: int = 3) -> torch.Tensor:
    images = torch.randint(0, 256, (clips, 1, 3, 40, 20), dtype=torch.uint8, generator=generator(1))
    return images.expand(clips, frames, 3, 40, 20).contiguous()


def augmented(config: AugmentConfig, frames: torch.Tensor, seed: int = 0) -> torch.Tensor:
    drawn = draw(
        config, clips=len(frames), frames=frames.shape[1], height=40, width=20, generator=generator(seed)
    )
    return apply(frames, drawn, mean=HALF, std=HALF)


@pytest.mark.parametrize("what", ONLY)
def test_one_draw_changes_all_frames_of_a_clip_alike(what: str):
    frames = same_frames()
    plain = normalise(frames, mean=HALF, std=HALF)
    for mode, equal in (("synchronous", True), ("asynchronous", False)):
        changed = augmented(replace(ONLY[what], mode=mode), frames)  # type: ignore[arg-type]
        assert bool((changed == changed[:, :1]).all()) is equal
        assert not torch.allclose(changed, plain, atol=0.01)
        assert changed.abs().max() <= 1
    clips = augmented(ONLY[what], frames[:1].expand_as(frames).contiguous())
    assert not all(torch.equal(clips[0], clip) for clip in clips), "clips have draws of their own"


def test_without_colours_a_recipe_draws_what_it_always_drew():
    one, other = AugmentConfig(), AugmentConfig(colour_probability=0.5, noise_probability=0.5)
    drawn = [draw(c, clips=9, frames=4, height=40, width=20, generator=generator(3)) for c in (one, other)]
    assert drawn[0].colour is None
    for name in ("crop", "flip", "angle", "erase"):
        assert torch.equal(getattr(drawn[0], name), getattr(drawn[1], name))
    assert (
        draw(
            replace(other, mode="none"), clips=2, frames=4, height=40, width=20, generator=generator()
        ).colour
        is None
    )


def test_what_is_erased_stays_nothing_and_what_is_not_drawn_stays_as_it_was():
    frames = same_frames(clips=8)
    erasing = replace(STILL, erase_probability=1.0)
    plain = augmented(erasing, frames)
    changed = augmented(replace(erasing, colour_probability=0.5), frames)
    assert bool((changed[plain == 0] == 0).all())
    same = [torch.allclose(a, b, atol=1e-5) for a, b in zip(plain, changed, strict=True)]
    assert any(same)
    assert not all(same)


def test_changes_of_each_kind_are_what_they_say():
    picture = torch.rand(1, 1, 3, 16, 8, generator=generator())

    def changed(column: int, value: float) -> torch.Tensor:
        drawn = torch.tensor([UNCHANGED])
        drawn[0, column] = value
        return change_colours(picture, drawn)

    assert torch.allclose(change_colours(picture, torch.tensor([UNCHANGED])), picture, atol=1e-6)
    grey = changed(0, 0.0)
    assert torch.allclose(grey[:, :, 0], grey[:, :, 2], atol=1e-6)
    red = changed(1, 0.5)
    assert torch.allclose(red[:, :, 0], picture[:, :, 0] / 2, atol=1e-6)
    assert torch.allclose(red[:, :, 1:], picture[:, :, 1:], atol=1e-6)
    assert float(changed(5, 0.1).mean()) > float(picture.mean())
    assert float(changed(6, 0.4).var()) < 0.6 * float(picture.var())
    assert torch.equal(changed(7, 0.04), changed(7, 0.04))


def test_a_share_of_a_batch_is_the_batch_s_own():
    config = replace(ONLY["colour"], noise_probability=0.5)
    frames = same_frames()
    drawn = draw(config, clips=6, frames=3, height=40, width=20, generator=generator())
    whole = apply(frames, drawn, mean=HALF, std=HALF)
    part = apply(frames[2:4], drawn.of_clips(2, 4), mean=HALF, std=HALF)
    assert torch.equal(part, whole[2:4])
