"""SDA as a module: shapes, draws, workers."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from intraclip.config import AugmentConfig
from intraclip.data.augment import apply, draw
from intraclip.data.lift import lift
from intraclip.data.normalise import normalise
from intraclip.data.sda import SDA
from intraclip.errors import ConfigError, DataError

MEAN = STD = (0.5, 0.5, 0.5)


def clips(count: int = 2, frames: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.randint(0, 256, (count, frames, 3, 24, 16), generator=generator, dtype=torch.uint8)


def test_it_is_draw_and_apply_of_the_same_generator():
    found = SDA(rotate_probability=0.5, generator=torch.Generator().manual_seed(3))(clips())
    config = AugmentConfig(rotate_probability=0.5)
    parameters = draw(
        config, clips=2, frames=3, height=24, width=16, generator=torch.Generator().manual_seed(3)
    )
    assert torch.equal(found, apply(clips(), parameters, mean=MEAN, std=STD))


def test_frames_of_a_clip_share_a_draw_and_clips_do_not():
    same = clips(1, 1).expand(32, 4, -1, -1, -1)
    found = SDA(generator=torch.Generator().manual_seed(0))(same)
    assert torch.equal(found, found[:, :1].expand_as(found))
    assert len({frame.numpy().tobytes() for frame in found[:, 0]}) > 16
    apart = SDA(mode="asynchronous", generator=torch.Generator().manual_seed(0))(same)
    assert not torch.equal(apart, apart[:, :1].expand_as(apart))


def test_one_clip_is_a_batch_of_one():
    one = SDA(generator=torch.Generator().manual_seed(1))(clips()[0])
    batch = SDA(generator=torch.Generator().manual_seed(1))(clips()[:1])
    assert torch.equal(one, batch[0])
    assert torch.equal(SDA(generator=torch.Generator().manual_seed(1))(clips()[0].numpy()), one)


def test_in_evaluation_mode_it_normalises_only():
    expected = normalise(clips(), mean=(0.4, 0.5, 0.6), std=STD)
    assert torch.equal(SDA(mean=(0.4, 0.5, 0.6)).eval()(clips()), expected)
    assert torch.equal(SDA(mode="none", mean=(0.4, 0.5, 0.6))(clips()), expected)


@pytest.mark.parametrize(
    "wrong",
    [
        torch.zeros(2, 3, 24, 16),
        torch.zeros(4, 24, 16, 3, dtype=torch.uint8),
        torch.zeros(3, 4, dtype=torch.uint8),
    ],
)
def test_what_is_no_clip_is_refused(wrong: torch.Tensor):
    with pytest.raises(DataError, match=r"SDA wants uint8 clips \[T, 3, H, W\]"):
        SDA()(wrong)


def test_values_out_of_range_are_refused_together():
    with pytest.raises(ConfigError, match=r"flip_probability: 2 must lie in 0\.\.1\n.*erase_probability: -1"):
        SDA(flip_probability=2, erase_probability=-1)
    with pytest.raises(ConfigError, match=r"std: .* must be above 0"):
        SDA(std=(0.5, 0.0, 0.5))


class Same(Dataset[torch.Tensor]):
    """The same clip again and again, augmented."""

    def __init__(self, transform: object) -> None:
        self.transform = transform

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.transform(clips(1)[0])  # type: ignore[operator,no-any-return]


def noise(image: torch.Tensor) -> torch.Tensor:
    return image + torch.rand(())


@pytest.mark.parametrize("transform", [SDA(erase_probability=1.0), lift(noise)], ids=["SDA", "lift"])
def test_workers_draw_differently_and_a_seed_repeats_them(transform):
    """A generator that every worker copies would give each the same draws."""

    def epoch(seed: int) -> list[bytes]:
        torch.manual_seed(seed)
        loader = DataLoader(Same(transform), batch_size=None, num_workers=2)
        return [clip.numpy().tobytes() for clip in loader]

    first = epoch(1)
    assert len(set(first)) == len(first)
    assert epoch(1) == first
    assert epoch(2) != first


def test_torch_state_is_used_unless_a_generator_is_given():
    torch.manual_seed(5)
    first = SDA()(clips())
    torch.manual_seed(5)
    assert torch.equal(SDA()(clips()), first)
    before = torch.get_rng_state()
    SDA(generator=torch.Generator().manual_seed(1))(clips())
    assert torch.equal(torch.get_rng_state(), before)


def test_both_can_be_sent_to_workers_of_any_kind():
    """Spawned ones get a pickle."""
    torch.manual_seed(5)
    expected = lift(noise)(clips()[0].float())
    torch.manual_seed(5)
    assert torch.equal(pickle.loads(pickle.dumps(lift(noise)))(clips()[0].float()), expected)
    again = pickle.loads(pickle.dumps(SDA(flip_probability=1.0, crop_probability=0, erase_probability=0)))
    np.testing.assert_allclose(again(clips()), normalise(clips(), mean=MEAN, std=STD).flip(-1))
