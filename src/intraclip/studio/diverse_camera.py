"""Cameras and light of the diverse preset: from eye level to drones, from noon to neon."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from intraclip.studio.camera import Camera, Light, draw_camera, rounded
from intraclip.studio.config import Difficulty, Diverse
from intraclip.studio.randomness import Kind, generator
from intraclip.studio.sensor import Film

_KINDS_OUTDOORS = {"hand": 0.26, "street": 0.38, "high": 0.25, "drone": 0.11}
_KINDS_INDOORS = {"hand": 0.28, "street": 0.57, "high": 0.15}


def draw_diverse_camera(seed: int, number: int, diverse: Diverse) -> Camera:
    """Draw one camera; what a group does not decide is as `draw_camera` has it."""
    camera = draw_camera(seed, number, Difficulty())
    exposure, dim = float(np.mean(camera.sensor.gain)), 0.0
    if diverse.light:
        light, exposure, dim = _light(generator(seed, Kind.DIVERSE_LIGHT, number), camera.indoor)
        gain = [g * exposure / float(np.mean(camera.sensor.gain)) for g in camera.sensor.gain]
        camera = replace(
            camera,
            light=light,
            sensor=replace(camera.sensor, gain=(gain[0], gain[1], gain[2])),
        )
    if diverse.cameras:
        rng = generator(seed, Kind.DIVERSE_CAMERA, number)
        camera = _hung(rng, camera)
        camera = replace(camera, sensor=_film(rng, exposure, camera.person_pixels, dim))
    return camera


def _hung(rng: np.random.Generator, camera: Camera) -> Camera:
    kinds = _KINDS_INDOORS if camera.indoor else _KINDS_OUTDOORS
    kind = str(rng.choice(list(kinds), p=list(kinds.values())))
    if kind == "hand":
        height, distance = rng.uniform(1.2, 2.0), rng.uniform(3.5, 12)
    elif kind == "street":
        height, distance = rng.uniform(2.2, 4.8), rng.uniform(4.5, 15)
    elif kind == "high":
        height = rng.uniform(4.5, 10)
        distance = height / np.tan(np.deg2rad(rng.uniform(22, 55)))
    else:
        height = rng.uniform(10, 30)
        distance = height / np.tan(np.deg2rad(rng.uniform(30, 72)))
    fine = float(np.exp(rng.uniform(np.log(68), np.log(290))))
    # The wider the lens, the more people lean towards the edges of the picture and the shorter their legs are.
    focal_least = float(rng.uniform(520, 1100))
    reach = float(np.hypot(distance, height - 0.9))
    grow = max(1.0, focal_least * 1.75 / (fine * reach))
    distance *= grow
    if kind in ("high", "drone"):
        height *= grow
    reach = float(np.hypot(distance, height - 0.9))
    return replace(
        camera,
        height=round(float(height), 4),
        distance=round(float(distance), 4),
        pitch=round(float(np.arctan2(height - 0.95, distance) + rng.normal(0, 0.02)), 4),
        focal=round(fine * reach / 1.75, 2),
        person_pixels=round(fine, 1),
        walkway=round(float(rng.uniform(0, 2 * np.pi)), 4),
        fps=round(float(rng.uniform(2.0, 5.0)), 2),
        roll=round(float(np.deg2rad(rng.normal(0, 2.5 if kind in ("hand", "drone") else 1.2))), 4),
    )


def _film(rng: np.random.Generator, exposure: float, fine: float, dim: float) -> Film:
    balance = np.exp(rng.normal(0, 0.05, 3) + rng.normal(0, 0.07) * np.array([1.0, 0.0, -1.0]))
    balance /= balance.mean()
    gain = exposure * balance * 2.0 ** rng.normal(0.0, 0.25)
    grey = rng.random() < 0.005 + 0.08 * dim
    quality = 100 - 88 * rng.beta(1.2, 2.2)
    return Film(
        gain=rounded(gain),
        saturation=round(
            float(rng.uniform(0, 0.15) if grey else np.clip(rng.normal(0.74, 0.18), 0.3, 1.25)), 4
        ),
        contrast=round(float(np.clip(rng.normal(1.25, 0.2), 0.8, 1.8)), 4),
        haze=round(float(max(0.0, rng.normal(0.004, 0.012))), 4),
        blur=round(float(rng.uniform(0.2, 0.3 + fine / 260)), 4),
        noise=round(float(rng.gamma(1.6, 0.005) * (1 + 1.5 * dim)), 5),
        sharpen=round(float(max(0.0, rng.normal(1.3, 0.8))), 4),
        quality=int(np.clip(quality, 12, 98)),
        black=round(float(max(0.0, rng.normal(0.0, 0.035))), 4),
        chroma=int(rng.choice([1, 2, 3, 4], p=[0.5, 0.3, 0.15, 0.05])),
        halo=round(float(rng.uniform(0.7, 1.6)), 4),
        upscaling=int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_AREA], p=[0.6, 0.3, 0.1])),
        stretch=round(float(np.exp(rng.normal(0, 0.06))), 4),
    )


def _light(rng: np.random.Generator, indoor: bool) -> tuple[Light, float, float]:
    """The light, the exposure that a camera answers with, and how dark it is (0 day to 1 night)."""
    kinds = (
        {"white": 0.5, "warm": 0.32, "dim": 0.1, "coloured": 0.08}
        if indoor
        else {"sun": 0.34, "low sun": 0.12, "shade": 0.26, "overcast": 0.18, "dusk": 0.05, "night": 0.05}
    )
    kind = str(rng.choice(list(kinds), p=list(kinds.values())))
    around = rng.uniform(0, 2 * np.pi)
    up = np.deg2rad(rng.uniform(40, 85) if indoor or kind == "night" else rng.uniform(30, 68))
    direct, ambient, dim = 0.2, 0.7, 0.0
    warm, sky = 0.0, 0.04
    if kind == "sun":
        direct, ambient, warm, sky = rng.uniform(0.9, 1.5), rng.uniform(0.22, 0.42), rng.uniform(0, 0.1), 0.08
    elif kind == "low sun":
        up = np.deg2rad(rng.uniform(14, 28))
        direct, ambient, warm, sky = rng.uniform(0.8, 1.4), rng.uniform(0.2, 0.4), rng.uniform(0.1, 0.3), 0.1
    elif kind == "shade":
        direct, ambient, sky = rng.uniform(0.05, 0.2), rng.uniform(0.5, 0.75), rng.uniform(0.05, 0.16)
    elif kind == "overcast":
        direct, ambient, sky = rng.uniform(0.15, 0.4), rng.uniform(0.5, 0.8), rng.uniform(-0.02, 0.05)
    elif kind == "dusk":
        direct, ambient, dim = rng.uniform(0.05, 0.4), rng.uniform(0.3, 0.6), 0.5
        warm, sky = rng.uniform(0.0, 0.3), rng.uniform(0.1, 0.3)
    elif kind == "night":
        direct, ambient, dim = rng.uniform(0.5, 1.2), rng.uniform(0.1, 0.25), 1.0
        warm, sky = rng.choice([rng.uniform(0.25, 0.6), rng.uniform(-0.15, 0.1)]), rng.uniform(-0.2, 0.1)
    elif kind == "white":
        direct, ambient, warm = rng.uniform(0.3, 0.7), rng.uniform(0.35, 0.6), rng.uniform(-0.06, 0.06)
        sky = -0.5 * warm
    elif kind == "warm":
        direct, ambient, warm = rng.uniform(0.4, 0.9), rng.uniform(0.3, 0.5), rng.uniform(0.08, 0.35)
        sky = -0.6 * warm
    else:
        direct, ambient, dim = rng.uniform(0.3, 0.9), rng.uniform(0.15, 0.4), 0.4
    tint, fill = np.array([1 + warm, 1.0, 1 - warm]), np.array([1 - sky, 1.0, 1 + sky])
    if kind == "coloured" or (kind == "night" and rng.random() < 0.35):
        hue = rng.uniform(0, 2 * np.pi)
        colour = 1 + rng.uniform(0.1, 0.35) * np.cos(hue + np.array([0, 2.1, 4.2]))
        fill = fill * colour
        tint = tint * (1 + rng.uniform(0, 0.25) * np.cos(hue + rng.uniform(-2, 2) + np.array([0, 2.1, 4.2])))
    toward = (np.cos(up) * np.cos(around), np.cos(up) * np.sin(around), np.sin(up))
    exposure = 2.0 ** rng.normal(-0.35 * dim, 0.2)
    white = 1 / np.mean(0.6 * tint * direct + fill * ambient, keepdims=True) * np.mean(0.6 * direct + ambient)
    return (
        Light(
            toward=rounded(toward),
            direct=rounded(tint * direct * white),
            ambient=rounded(fill * ambient * white),
        ),
        float(exposure),
        dim,
    )
