from __future__ import annotations

import base64
import io

import numpy as np
import torch
from PIL import Image

from intraclip.config import AugmentConfig, InputConfig
from intraclip.core.film_strip import film_strip
from intraclip.data.augment import AugmentParameters
from intraclip.report import plots, strips
from intraclip.report.sections.augmentation import augmented_clip, describe_draw, visible

SAME_FRAME = np.repeat(np.random.default_rng(0).integers(0, 256, (1, 64, 32, 3), dtype=np.uint8), 4, axis=0)
SMALL = InputConfig(height=64, width=32)


def draw_on(mode: str, seed: int = 0) -> tuple[np.ndarray, AugmentParameters]:
    config = visible(AugmentConfig(mode=mode))  # type: ignore[arg-type]
    return augmented_clip(
        SAME_FRAME, config, input_config=SMALL, generator=torch.Generator().manual_seed(seed)
    )


def test_synchronous_frames_of_a_still_clip_stay_equal() -> None:
    frames, parameters = draw_on("synchronous")
    assert parameters.flip.shape[1] == 1
    assert frames.shape == SAME_FRAME.shape
    assert all(np.array_equal(frame, frames[0]) for frame in frames)
    assert not np.array_equal(frames[0], SAME_FRAME[0])


def test_asynchronous_frames_of_a_still_clip_differ() -> None:
    frames, parameters = draw_on("asynchronous")
    assert parameters.flip.shape == (1, 4)
    assert all(not np.array_equal(frames[i], frames[j]) for i in range(4) for j in range(i))


def test_without_augmentation_the_picture_comes_back() -> None:
    frames, parameters = draw_on("none")
    assert np.array_equal(frames, SAME_FRAME)
    assert describe_draw(parameters, 0, height=64, width=32) == ["unchanged"]


def test_draw_in_words_matches_the_pixels() -> None:
    frames, parameters = draw_on("synchronous", seed=3)
    top, left, height, width = parameters.erase[0, 0].tolist()
    assert f"erase {height}×{width} at {top}, {left}" in describe_draw(parameters, 0, height=64, width=32)
    erased = frames[:, top : top + height, left : left + width]
    assert np.ptp(erased) == 0  # 0 after normalisation is one grey
    assert int(erased.flat[0]) in (127, 128)


def test_operations_that_a_recipe_leaves_out_stay_out() -> None:
    raised = visible(AugmentConfig(rotate_probability=0, erase_probability=0.1, flip_probability=0))
    assert (raised.rotate_probability, raised.erase_probability, raised.flip_probability) == (0, 1, 0)


def test_film_strip_keeps_every_pixel() -> None:
    strip = film_strip(SAME_FRAME, gap=2)
    assert strip.shape == (64, 4 * 32 + 3 * 2, 3)
    assert np.array_equal(strip[:, 34:66], SAME_FRAME[1])
    assert not strip[:, 32:34].any()


def test_ranked_picture_holds_query_and_answers() -> None:
    answers = [(SAME_FRAME[:2], "person 3"), (SAME_FRAME[:2], "person 4")]
    picture = strips.ranked_picture(SAME_FRAME, answers)
    assert picture.dtype == np.uint8
    assert picture.shape[1] == 20 + 134 + 28 + 2 * 74 + 10
    assert (picture == strips.GREY).all(axis=-1).sum() > 500
    assert strips.ranked_picture(SAME_FRAME, []).shape[2] == 3


def test_jpeg_uri_opens_as_the_picture() -> None:
    smooth = np.tile(np.linspace(0, 255, 32).astype(np.uint8)[None, :, None], (64, 1, 3))
    uri = strips.jpeg_uri(smooth)
    head, data = uri.split(",", 1)
    assert head == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        assert np.abs(np.asarray(image).astype(int) - smooth).mean() < 3


def test_svg_stands_alone_and_repeats_itself() -> None:
    epochs = [{"epoch": i, "triplet": 1 / i} for i in range(1, 6)]
    texts = []
    for _ in range(2):
        figure = plots.training_curve({"cost $5 <b>": epochs, "other": []}, key="triplet", title="a $ b")
        texts.append(plots.svg(figure, label='say "<hello>"'))
    assert texts[0] == texts[1]
    assert texts[0].startswith("<svg viewBox=")
    assert 'aria-label="say &quot;&lt;hello&gt;&quot;"' in texts[0]
    assert "http" not in texts[0]
    assert "<!--" not in texts[0]
    assert "currentColor" in texts[0]


def test_figures_leave_pyplot_alone() -> None:
    import matplotlib.pyplot as plt

    plots.cmc_curve({"a": [0.5] * 20}, baselines={"b": [0.1] * 20})
    assert plt.get_fignums() == []


def test_cmc_draws_percent_from_rank_1() -> None:
    figure = plots.cmc_curve({"a": [0.5, 0.75, *[1.0] * 48]}, baselines={})
    line = figure.axes[0].lines[0]
    assert np.asarray(line.get_xdata()).tolist() == list(range(1, 21))
    assert np.asarray(line.get_ydata())[:3].tolist() == [50, 75, 100]


def test_one_epoch_still_shows() -> None:
    figure = plots.training_curve(
        {"a": [{"epoch": 1, "accuracy": 0.5}]}, key="accuracy", title="", share=True
    )
    assert figure.axes[0].lines[0].get_marker() == "o"
