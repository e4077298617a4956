"""Film strips, ranked lists and contact sheets as RGB arrays, by Pillow alone."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image, ImageDraw, ImageFont

from intraclip.core.files import whole_file
from intraclip.core.film_strip import film_strip
from intraclip.data.frames import read_tracklet_frame, resize_frame
from intraclip.errors import OutputError
from intraclip.types import Tracklet

Picture = npt.NDArray[np.uint8]
"""uint8 ``[H, W, 3]``, RGB."""

INK = (32, 34, 38)
GREY = 150
PAPER = (255, 255, 255)
BORDER = 4


def evenly_spaced(length: int, count: int) -> list[int]:
    """Frame numbers in the middle of `count` equal parts of a tracklet; fewer for a tracklet shorter than that.

    >>> evenly_spaced(100, 4)
    [12, 37, 62, 87]
    >>> evenly_spaced(2, 4)
    [0, 1]
    """
    count = min(count, length)
    return [(2 * i + 1) * length // (2 * count) for i in range(count)]


def load_frames(tracklet: Tracklet, indices: Sequence[int], *, height: int, width: int) -> Picture:
    """Read frames of a tracklet; uint8 ``[len(indices), height, width, 3]``, RGB."""
    frames = [resize_frame(read_tracklet_frame(tracklet, i), height, width) for i in indices]
    return np.stack(frames)


def ranked_picture(
    query: Picture, answers: Sequence[tuple[Picture, str]], *, title: str = "query"
) -> Picture:
    """A query ``[T, H, W, 3]`` and its answers, best first, as one labelled picture; uint8 ``[H', W', 3]`` on white.

    Answers are frames of the query's height, and a short line of text; `title` stands below the query.
    """
    high, all_round = (BORDER, BORDER), ((BORDER, BORDER), (BORDER, BORDER))
    tiles = [np.pad(film_strip(query), (high, (0, 0), (0, 0)), constant_values=255)]
    tiles += [np.pad(film_strip(f), (*all_round, (0, 0)), constant_values=GREY) for f, _ in answers]
    labels = [title, *(label for _, label in answers)]
    gaps = [28, *(10 for _ in answers)]
    width = sum(tile.shape[1] for tile in tiles) + sum(gaps[: len(answers)]) + 20
    image = Image.new("RGB", (width, tiles[0].shape[0] + 40), PAPER)
    pen = ImageDraw.Draw(image)
    left = 10
    for tile, label, gap in zip(tiles, labels, gaps, strict=True):
        image.paste(Image.fromarray(tile), (left, 10))
        pen.text((left, tile.shape[0] + 15), label, fill=INK, font=ImageFont.load_default(11))
        left += tile.shape[1] + gap
    return np.asarray(image)


def ranked_tracklets(query: Tracklet, answers: Sequence[tuple[Tracklet, float]]) -> Picture:
    """A tracklet and the ones most similar to it, without a verdict: for data without labels.

    Returns:
        uint8 ``[H', W', 3]`` on white.
    """

    def strip(tracklet: Tracklet) -> Picture:
        return load_frames(tracklet, evenly_spaced(len(tracklet), 2), height=160, width=80)

    shown = [
        (strip(tracklet), f"{place}. {tracklet.name}  {distance:.3f}")
        for place, (tracklet, distance) in enumerate(answers, start=1)
    ]
    return ranked_picture(strip(query), shown, title=f"query {query.name}")


def encode_picture(picture: Picture, suffix: str) -> bytes:
    """A picture ``[H, W, 3]`` as the content of a file of this suffix, such as ``.png``.

    Raises:
        OutputError: it is too large for that format.
    """
    data = io.BytesIO()
    try:
        Image.fromarray(picture).save(data, Image.registered_extensions()[suffix.lower()], quality=92)
    except (OSError, ValueError) as error:
        raise OutputError(f"the picture cannot be written as {suffix}: {error}") from None
    return data.getvalue()


def write_picture(path: Path, picture: Picture, *, replace: bool = True) -> None:
    """Write a picture ``[H, W, 3]`` as PNG or JPEG, by the file's suffix."""
    data = encode_picture(picture, path.suffix)
    with whole_file(path, replace=replace) as partial:
        partial.write_bytes(data)


def jpeg_uri(picture: Picture) -> str:
    """A picture ``[H, W, 3]`` as a ``data:`` address with a JPEG inside."""
    data = simplejpeg.encode_jpeg(np.ascontiguousarray(picture), quality=84, colorsubsampling="420")
    return jpeg_address(data)


def jpeg_address(data: bytes) -> str:
    """A JPEG file as a ``data:`` address; an empty one as an empty text."""
    return "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii") if data else ""
