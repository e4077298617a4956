from __future__ import annotations

import importlib
import io
import math
import sys
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from intraclip.config import AugmentConfig
from intraclip.data import augment_device
from intraclip.data.augment import AugmentParameters, apply, draw
from intraclip.data.augment_device import augment_vectorised
from intraclip.data.augment_kernels import empty_channels_last
from intraclip.data.lift import lift
from intraclip.data.normalise import normalise

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
    alone = apply(same_frames(frames=2)[1:2], parameters.of_clips(1, 2), mean=HALF, std=HALF)
    assert torch.equal(alone, short[1:2])


@pytest.fixture
def threads():
    """Sets torch's number of threads; the old one returns afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def channels_last(frames: torch.Tensor) -> torch.Tensor:
    return frames.movedim(-3, -1).contiguous().movedim(-1, -3)


def smooth_frames(clips: int, frames: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Different smooth pictures, channels-last."""
    coarse = torch.rand(clips * frames, 3, 6, 4, generator=generator(seed)) * 255
    fine = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")
    return channels_last(fine.clamp(0, 255).to(torch.uint8).view(clips, frames, 3, height, width))


def noise_frames(clips: int, frames: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    """White noise, channels-last: neighbours differ as much as they can."""
    shape = (clips, frames, height, width, 3)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator(seed)).movedim(-1, 2)


def reference(frames: torch.Tensor, parameters: AugmentParameters) -> torch.Tensor:
    """The same draw through torchvision's functions, frame by frame, in 0..1."""
    result = torch.empty(frames.shape)
    for b, t in np.ndindex(*frames.shape[:2]):
        u = t % parameters.flip.shape[1]
        image = F.resized_crop(
            frames[b, t], *parameters.crop[b, u].tolist(), size=list(frames.shape[-2:]), antialias=True
        )
        image = F.horizontal_flip(image) if parameters.flip[b, u] else image
        image = F.rotate(image, parameters.angle[b, u].item(), interpolation=v2.InterpolationMode.BILINEAR)
        image = F.to_dtype(image, torch.float32, scale=True)
        result[b, t] = F.erase(image, *parameters.erase[b, u].tolist(), v=torch.zeros(()))
    return result


def vectorised(
    frames: torch.Tensor, parameters: AugmentParameters, *, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """What an accelerator would compute, in 0..1, on the frames' device."""
    clips, length, _, height, width = frames.shape
    units = parameters.flip.shape[1]
    shape = (clips * units, length // units, 3, height, width)
    out = empty_channels_last(frames.shape, dtype=dtype, device=frames.device)
    augment_vectorised(
        frames.reshape(shape), parameters.by_unit(), mean=(0, 0, 0), std=(1, 1, 1), out=out.view(shape)
    )
    return out


def grey_levels(a: torch.Tensor, b: torch.Tensor) -> float:
    return (a - b).abs().max().item() * 255


NO_ROTATION = {key: value for key, value in ALWAYS.items() if not key.startswith("rotate")}
WIDE_CROP = {"crop_scale": (0.3, 1.0)}


@pytest.mark.parametrize("mode", ["synchronous", "asynchronous"])
@pytest.mark.parametrize(("height", "width"), [(64, 32), (37, 23), (9, 1), (1, 7)])
@pytest.mark.parametrize("make", [smooth_frames, noise_frames])
def test_crop_flip_and_erase_are_within_one_grey_level_of_torchvision(make, height, width, mode):
    frames = make(6, 3, height, width)
    config = AugmentConfig(mode=mode, **NO_ROTATION, **WIDE_CROP)
    parameters = draw(config, clips=6, frames=3, height=height, width=width, generator=generator(2))
    result = apply(frames, parameters, mean=(0, 0, 0), std=(1, 1, 1))
    assert grey_levels(result, reference(frames, parameters)) <= 1.001
    assert grey_levels(vectorised(frames, parameters), result) <= 1.001


@pytest.mark.parametrize("make", [smooth_frames, noise_frames])
def test_rotation_is_as_close_to_torchvision_as_steps_of_one_32nd_pixel_allow(make):
    frames = make(8, 2, 64, 32)
    config = AugmentConfig(rotate_probability=1, rotate_degrees=40, crop_probability=0, erase_probability=0)
    parameters = draw(config, clips=8, frames=2, height=64, width=32, generator=generator(3))
    expected = reference(frames, parameters).flatten(0, 1)
    result = apply(frames, parameters, mean=(0, 0, 0), std=(1, 1, 1)).flatten(0, 1)
    # Half a step, along both axes, of what neighbours differ by; and both sides round. Outside all is black.
    source = torch.nn.functional.pad(frames.flatten(0, 1) * 1.0, (1, 1, 1, 1))
    slope = max((source.diff(dim=-1)).abs().max(), source.diff(dim=-2).abs().max()).item()
    assert grey_levels(result, expected) <= 2 * slope / 64 + 1.001
    assert (result - expected).abs().mean().item() * 255 < 1
    assert grey_levels(vectorised(frames, parameters).flatten(0, 1), expected) <= 0.6  # it does not round


def test_an_angle_turns_the_vectorised_path_as_torchvision_does_to_the_border():
    frames = noise_frames(4, 2, 33, 18)
    angles = torch.tensor([[30.0], [-75.0], [180.0], [0.0]])
    still = draw(AugmentConfig(mode="none"), clips=4, frames=2, height=33, width=18, generator=generator())
    parameters = AugmentParameters(crop=still.crop, flip=still.flip, angle=angles, erase=still.erase)
    turned = [
        F.rotate(clip.float() / 255, angle.item(), interpolation=v2.InterpolationMode.BILINEAR)
        for clip, angle in zip(frames, angles, strict=True)
    ]
    assert grey_levels(vectorised(frames, parameters), torch.stack(turned)) < 0.05


@pytest.mark.parametrize("mode", ["synchronous", "asynchronous", "none"])
def test_every_memory_layout_gives_the_same_bytes(mode):
    frames = noise_frames(4, 3, 20, 12)
    config = AugmentConfig(mode=mode, **ALWAYS)
    parameters = draw(config, clips=4, frames=3, height=20, width=12, generator=generator(4))
    expected = apply(frames, parameters, mean=HALF, std=HALF)
    wide = torch.zeros(4, 3, 3, 40, 24, dtype=torch.uint8)
    wide[..., ::2, ::2] = frames
    interleaved = torch.stack([frames, frames], dim=1)[:, 1]
    transposed = frames.transpose(-1, -2).contiguous().transpose(-1, -2)
    for layout in (frames.contiguous(), wide[..., ::2, ::2], interleaved, transposed):
        assert torch.equal(apply(layout, parameters, mean=HALF, std=HALF), expected)


def test_the_bytes_do_not_depend_on_the_number_of_threads(threads):
    frames = noise_frames(9, 2, 32, 16)
    parameters = draw(AugmentConfig(**ALWAYS), clips=9, frames=2, height=32, width=16, generator=generator(5))
    results = []
    for count in (1, 2, 5):
        threads(count)
        results.append(apply(frames, parameters, mean=HALF, std=HALF))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_an_error_in_a_thread_reaches_the_caller(threads, monkeypatch):
    threads(2)
    monkeypatch.setattr("intraclip.data.augment_kernels.cv2.LUT", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        normalise(noise_frames(4, 1, 8, 8), mean=HALF, std=HALF)


def test_the_frames_are_left_as_they_were():
    for frames in (noise_frames(4, 2, 16, 8), noise_frames(4, 2, 16, 8).contiguous()):
        before = frames.clone()
        parameters = draw(
            AugmentConfig(**ALWAYS), clips=4, frames=2, height=16, width=8, generator=generator()
        )
        apply(frames, parameters, mean=HALF, std=HALF)
        assert torch.equal(frames, before)


def test_a_result_is_channels_last_and_can_be_the_buffer_of_the_next_call():
    parameters = draw(AugmentConfig(**ALWAYS), clips=4, frames=2, height=16, width=8, generator=generator(6))
    buffer = apply(noise_frames(4, 2, 16, 8), parameters, mean=HALF, std=HALF)
    assert buffer.movedim(2, -1).is_contiguous()
    other = noise_frames(4, 2, 16, 8, seed=1)
    expected = apply(other, parameters, mean=HALF, std=HALF)
    assert not torch.equal(buffer, expected)
    assert apply(other, parameters, mean=HALF, std=HALF, out=buffer) is buffer
    assert torch.equal(buffer, expected)
    assert torch.allclose(normalise(other, mean=HALF, std=HALF), other / 127.5 - 1, atol=1e-6)


def test_a_buffer_that_a_backward_pass_still_needs_is_noticed():
    frames = noise_frames(2, 2, 8, 8)
    parameters = draw(AugmentConfig(**ALWAYS), clips=2, frames=2, height=8, width=8, generator=generator())
    buffer = apply(frames, parameters, mean=HALF, std=HALF)
    weight = torch.ones((), requires_grad=True)
    loss = (buffer * weight).sum()
    apply(frames, parameters, mean=HALF, std=HALF, out=buffer)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_are_the_float32_result_rounded(dtype):
    frames = noise_frames(4, 2, 16, 8)
    parameters = draw(AugmentConfig(**ALWAYS), clips=4, frames=2, height=16, width=8, generator=generator(7))
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    result = apply(frames, parameters, mean=mean, std=std, dtype=dtype)
    assert result.dtype == dtype
    assert torch.equal(result, apply(frames, parameters, mean=mean, std=std).to(dtype))
    tolerance = 4 * torch.finfo(dtype).eps + 0.5 / 255
    assert (
        vectorised(frames, parameters, dtype=dtype) - vectorised(frames, parameters)
    ).abs().max() < tolerance


def test_each_channel_has_its_own_mean_and_deviation_in_any_shape():
    frames = noise_frames(3, 2, 8, 4)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    expected = F.normalize(F.to_dtype(frames, torch.float32, scale=True), mean, std)
    result = normalise(frames, mean=mean, std=std)
    assert torch.allclose(result, expected, atol=1e-5)
    assert torch.equal(normalise(frames[0], mean=mean, std=std), result[0])
    assert torch.equal(normalise(frames[1, 1], mean=mean, std=std), result[1, 1])
    assert normalise(frames[:0], mean=mean, std=std).shape == (0, 2, 3, 8, 4)


class Operations(TorchDispatchMode):
    """Counts tensor operations."""

    count = 0

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        self.count += 1
        return function(*arguments, **(keywords or {}))


def test_the_vectorised_path_does_as_many_operations_for_many_clips_as_for_one():
    counts = []
    for clips in (2, 20):
        parameters = draw(
            AugmentConfig(**ALWAYS), clips=clips, frames=2, height=16, width=8, generator=generator()
        )
        with Operations() as operations:
            vectorised(noise_frames(clips, 2, 16, 8), parameters)
        counts.append(operations.count)
    assert counts[0] == counts[1] < 150


@pytest.mark.parametrize("mode", ["synchronous", "asynchronous", "none"])
def test_the_vectorised_path_reads_nothing_back_from_the_device(mode):
    # The device "meta" has shapes but no values: whatever is read from it raises.
    frames = noise_frames(4, 2, 16, 8).to("meta")
    parameters = draw(
        AugmentConfig(mode=mode, **ALWAYS), clips=4, frames=2, height=16, width=8, generator=generator()
    )
    result = apply(frames, parameters, mean=HALF, std=HALF)
    assert result.shape == frames.shape
    assert result.device.type == "meta"
    with pytest.raises(RuntimeError, match=r"meta|Meta"):
        result.sum().item()


@pytest.fixture
def interpreted(monkeypatch):
    """The kernel for GPUs in Triton's interpreter, which needs none."""
    pytest.importorskip("triton")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.delitem(sys.modules, "intraclip.data.augment_fused", raising=False)
    kernel = importlib.import_module("intraclip.data.augment_fused").augment_fused
    monkeypatch.delitem(sys.modules, "intraclip.data.augment_fused")  # nobody else gets the interpreted one
    return kernel


def with_kernel_and_separately(kernel, frames, parameters, dtype=torch.float32):
    """The same draw by the kernel and by the separate operations."""
    units = parameters.by_unit()
    count, (clips, length, _, height, width) = len(units.flip), frames.shape
    shape = (count, clips * length // count, 3, height, width)
    found, expected = (empty_channels_last(frames.shape, dtype=dtype, device=frames.device) for _ in range(2))
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    augment_vectorised(frames.reshape(shape), units, mean=mean, std=std, out=expected.view(shape))
    table = torch.cat([part.reshape(count, -1).float() for part in units], dim=1)
    scale, offset = augment_device._channel_constants(mean, std, frames.device)
    kernel(frames.reshape(shape), table, scale=scale, offset=offset, out=found.view(shape))
    return found.float(), expected.float()


@pytest.mark.parametrize("mode", ["synchronous", "asynchronous", "none"])
@pytest.mark.parametrize(
    ("dtype", "close"), [(torch.float32, 1e-4), (torch.float16, 4e-3), (torch.bfloat16, 4e-2)]
)
@pytest.mark.parametrize("planar", [False, True])
def test_the_kernel_for_gpus_does_what_the_separate_operations_do(mode, dtype, close, planar, interpreted):
    height, width = 22, 180  # neither rows nor values fill the last block
    frames = noise_frames(3, 2, height, width)
    frames = frames.contiguous() if planar else frames
    parameters = draw(
        AugmentConfig(mode=mode), clips=3, frames=2, height=height, width=width, generator=generator(4)
    )
    found, expected = with_kernel_and_separately(interpreted, frames, parameters, dtype)
    assert (found - expected).abs().max() <= close
    whole = (parameters.crop == torch.tensor([0, 0, height, width])).all()
    assert bool(whole) == (mode == "none")


@pytest.mark.parametrize("towards", [-np.inf, np.inf])
@pytest.mark.parametrize("mode", ["synchronous", "none"])
def test_a_gpu_that_divides_with_an_error_leaves_what_is_not_moved_where_it_is(
    mode, towards, interpreted, monkeypatch
):
    """Triton divides floats to within 2 units in the last place: there, 33 / 33 is not always 1."""
    from triton.runtime.interpreter import InterpreterBuilder

    def divide(self, left, right):
        quotient = (left.data / right.data).astype(np.float32)
        for _ in range(2):
            quotient = np.nextafter(quotient, np.float32(towards))
        return type(left)(quotient, left.dtype)

    monkeypatch.setattr(InterpreterBuilder, "create_fdiv", divide)
    frames = noise_frames(4, 2, 33, 21)
    parameters = draw(
        AugmentConfig(mode=mode), clips=4, frames=2, height=33, width=21, generator=generator(8)
    )
    assert (parameters.crop == torch.tensor([0, 0, 33, 21])).all(dim=-1).any()
    found, expected = with_kernel_and_separately(interpreted, frames, parameters)
    assert (found - expected).abs().max() < 1e-3  # positions are off by 1e-5 pixel at most, in noise


@pytest.mark.cuda
@pytest.mark.parametrize("mode", ["synchronous", "asynchronous", "none"])
@pytest.mark.parametrize("size", [(64, 32), (33, 21), (256, 128)])
@pytest.mark.parametrize("planar", [False, True])
def test_one_kernel_or_separate_operations_make_no_difference_on_a_gpu(mode, size, planar, monkeypatch):
    height, width = size
    frames = smooth_frames(8, 4, height, width).cuda()
    frames = frames.contiguous() if planar else frames
    parameters = draw(
        AugmentConfig(mode=mode), clips=8, frames=4, height=height, width=width, generator=generator(8)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Triton could not be used
        found = apply(frames, parameters, mean=HALF, std=HALF)
    monkeypatch.setattr(augment_device, "_fused", lambda device: None)
    expected = apply(frames, parameters, mean=HALF, std=HALF)
    assert (found - expected).abs().max() < 1e-4


@pytest.mark.cuda
@pytest.mark.parametrize("mode", ["synchronous", "asynchronous", "none"])
def test_cuda_agrees_with_the_cpu_and_does_not_wait(mode):
    frames = smooth_frames(8, 4, 64, 32)
    config = AugmentConfig(mode=mode, **NO_ROTATION)
    parameters = draw(config, clips=8, frames=4, height=64, width=32, generator=generator(8))
    expected = apply(frames, parameters, mean=(0, 0, 0), std=(1, 1, 1))
    on_device = frames.cuda()
    buffer = apply(on_device, parameters, mean=(0, 0, 0), std=(1, 1, 1))  # constants are moved once, here
    torch.cuda.set_sync_debug_mode("error")
    try:
        result = apply(on_device, parameters, mean=(0, 0, 0), std=(1, 1, 1), out=buffer)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert result.movedim(2, -1).is_contiguous()
    assert grey_levels(result.cpu(), expected) <= 1.001


def test_a_share_of_a_draw_is_the_draw_of_those_clips():
    parameters = drawn(AugmentConfig(), clips=6)
    share = parameters.of_clips(2, 4)
    assert torch.equal(share.crop, parameters.crop[2:4])
    assert torch.equal(share.erase[1:], parameters.of_clips(3, 4).erase)
    assert share.flip.shape == share.angle.shape == (2, 1)


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
    with pytest.raises(ValueError, match="uint8"):
        apply(same_frames()[:2, :, :1], parameters, mean=HALF, std=HALF)
    with pytest.raises(ValueError, match="uint8"):
        normalise(same_frames().movedim(2, -1), mean=HALF, std=HALF)


@pytest.mark.parametrize(
    ("operation", "box"),
    [("crop", [10, 0, 60, 32]), ("crop", [0, 0, 0, 32]), ("crop", [-1, 0, 8, 8]), ("erase", [0, 30, 4, 3])],
)
def test_a_box_that_leaves_the_frame_is_refused(operation, box):
    frames = torch.zeros(1, 1, 3, 64, 32, dtype=torch.uint8)
    with pytest.raises(
        ValueError, match=rf"{operation} box \[{box[0]}, .* of clip 0 leaves frames of 64 x 32"
    ):
        apply(frames, one(**{operation: torch.tensor([[box]])}), mean=HALF, std=HALF)


def test_a_buffer_that_does_not_fit_is_refused():
    frames = noise_frames(2, 2, 8, 8)
    parameters = draw(AugmentConfig(**ALWAYS), clips=2, frames=2, height=8, width=8, generator=generator())
    fits = normalise(frames, mean=HALF, std=HALF)
    for out, reason in (
        (fits[:1], "shape"),
        (fits.contiguous(), "channels-last"),
        (fits.to("meta"), "on meta"),
        (fits.to(torch.int32), r"not torch\.int32"),
    ):
        with pytest.raises(ValueError, match=reason):
            apply(frames, parameters, mean=HALF, std=HALF, out=out)
    with pytest.raises(ValueError, match=r"not torch\.uint8"):
        apply(frames, parameters, mean=HALF, std=HALF, dtype=torch.uint8)


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
