"""A camera's own motion is told by what stands, not by people."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from intraclip.ingest.camera_motion import LEAST, STANDS, CameraMotion

HEIGHT, WIDTH = 240, 400
Pixels = npt.NDArray[np.uint8]


def ground(contrast: float) -> Pixels:
    """Uneven grey, larger than a frame."""
    noise = np.random.default_rng(0).normal(size=(HEIGHT + 100, WIDTH + 100)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    return np.asarray((120 + contrast * smooth / smooth.std()).clip(0, 255), np.uint8)


def view(
    scene: Pixels, *, camera: tuple[int, int] = (0, 0), crowd: float = 0
) -> tuple[Pixels, npt.NDArray[np.float32]]:
    """A frame, shifted by `camera`, with eight chequered people who have walked `crowd` pixels; and their boxes."""
    x, y = 50 + camera[0], 50 + camera[1]
    image = np.repeat(scene[y : y + HEIGHT, x : x + WIDTH, None], 3, axis=2).copy()
    clothes = np.kron(np.indices((12, 4)).sum(0) % 2 * 255, np.ones((8, 8))).astype(np.uint8)[..., None]
    boxes = []
    for person in range(8):
        left, top = round(20 + 42 * person + crowd), 20 + 110 * (person % 2)
        image[top : top + 96, left : left + 32] = clothes
        boxes.append([left, top, left + 32, top + 96])
    return image, np.array(boxes, np.float32)


def test_a_camera_stands_though_a_crowd_with_better_corners_goes_by() -> None:
    camera, scene = CameraMotion(), ground(contrast=12)
    for step in range(4):
        said = camera.estimate(*view(scene, crowd=9 * step))
        assert said.tolist() == STANDS.tolist()


@pytest.mark.parametrize("crowd", [0, 10])
def test_a_camera_that_turns_is_followed_whatever_people_do(crowd: int) -> None:
    camera, scene = CameraMotion(), ground(contrast=40)
    camera.estimate(*view(scene))
    said = camera.estimate(*view(scene, camera=(14, -6), crowd=crowd))
    np.testing.assert_allclose(said @ [200, 120, 1], [186, 126], atol=0.5)
    np.testing.assert_allclose(said[:, :2], np.eye(2), atol=0.01)
    assert camera.latest is said


def test_one_that_stands_in_half_of_what_is_seen_stands() -> None:
    camera, scene = CameraMotion(), ground(contrast=40)
    moved = scene.copy()
    moved[:, : WIDTH // 3] = np.roll(scene, 10, axis=1)[
        :, : WIDTH // 3
    ]  # a door, a lorry, the crown of a tree
    camera.estimate(view(scene)[0])
    assert camera.estimate(view(moved)[0]).tolist() == STANDS.tolist()


def test_nothing_is_said_of_a_blank_wall_of_another_size_or_where_people_fill_the_frame() -> None:
    camera, scene = CameraMotion(), ground(contrast=40)
    wall = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    assert camera.estimate(wall).tolist() == camera.estimate(wall).tolist() == STANDS.tolist()
    camera.estimate(*view(scene))
    assert camera.estimate(view(scene, camera=(14, -6))[0][: HEIGHT // 2]).tolist() == STANDS.tolist()
    everywhere = np.array([[-5, -5, WIDTH + 5, HEIGHT + 5]], np.float32)
    camera.estimate(view(scene)[0], everywhere)
    assert camera.estimate(view(scene, camera=(14, -6))[0], everywhere).tolist() == STANDS.tolist()
    assert LEAST > 2  # two corners fit any shift, turn and scale
