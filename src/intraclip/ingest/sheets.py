"""Contact sheets: one look tells whether the tracks of a view are people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from intraclip.ingest.crops import write_jpeg
from intraclip.ingest.frame_source import Image

CELL_HEIGHT, CELL_WIDTH, LABEL_WIDTH, GAP = 120, 72, 150, 4
ROWS_A_SHEET = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class Strip:
    """One row of a sheet.

    Attributes:
        label: lines of text beside the film strip.
        images: uint8 ``[H, W, 3]`` BGR of any size, in order of time.
    """

    label: tuple[str, ...]
    images: tuple[Image, ...]


def write_sheets(folder: Path, name: str, strips: Sequence[Strip]) -> list[Path]:
    """Write `name.jpg`, and `name-2.jpg` and so on when there are more than 40 rows.

    Returns:
        The files written.
    """
    paths = []
    for page, start in enumerate(range(0, len(strips), ROWS_A_SHEET), start=1):
        path = folder / (f"{name}.jpg" if page == 1 else f"{name}-{page}.jpg")
        write_jpeg(path, draw_sheet(strips[start : start + ROWS_A_SHEET]), quality=85)
        paths.append(path)
    return paths


def thumbnail(image: Image) -> Image:
    """An image ``[H, W, 3]`` scaled to fit a cell of the sheet."""
    scale = min(CELL_HEIGHT / image.shape[0], CELL_WIDTH / image.shape[1])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    if size == (image.shape[1], image.shape[0]):
        return image
    return np.asarray(
        cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR),
        dtype=np.uint8,
    )


def draw_sheet(strips: Sequence[Strip]) -> Image:
    """One sheet as uint8 ``[H, W, 3]`` BGR: a row a strip, images fitted into cells of 120 x 72 pixels."""
    columns = max(len(s.images) for s in strips)
    sheet = np.full(
        (len(strips) * (CELL_HEIGHT + GAP) + GAP, LABEL_WIDTH + columns * (CELL_WIDTH + GAP), 3), 32, np.uint8
    )
    for row, strip in enumerate(strips):
        top = GAP + row * (CELL_HEIGHT + GAP)
        for line, text in enumerate(strip.label):
            cv2.putText(
                sheet,
                text,
                (6, top + 22 + 20 * line),
                cv2.FONT_HERSHEY_SIMPLEX,
                0.45,
                (235, 235, 235),
                1,
                cv2.LINE_AA,
            )
        for column, image in enumerate(strip.images):
            left = LABEL_WIDTH + column * (CELL_WIDTH + GAP)
            small = thumbnail(image)
            y, x = top + (CELL_HEIGHT - small.shape[0]) // 2, left + (CELL_WIDTH - small.shape[1]) // 2
            sheet[y : y + small.shape[0], x : x + small.shape[1]] = small
    return sheet
