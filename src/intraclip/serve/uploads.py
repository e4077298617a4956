"""Uploaded files -> pictures of a person. What a file is, its bytes say; its name is never looked at.

Pictures are decoded from memory. A clip has to lie in a file for the time it is decoded: in a folder of its own that
only this user can read, under a name of ours.
"""

from __future__ import annotations

import io
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from intraclip.data.frames import resize_frame
from intraclip.errors import DataError
from intraclip.ingest.config import IngestConfig
from intraclip.ingest.sources import open_source
from intraclip.serve.errors import Refused
from intraclip.serve.settings import ServeSettings

Picture = npt.NDArray[np.uint8]
"""uint8 ``[h, w, 3]``, RGB: one person, cut out."""

FORMATS = ("JPEG", "PNG", "WEBP")

KEPT_SIDE = 768
"""Decoded pictures are made smaller than this at once; every network here looks at less."""

MAX_FRAMES = 64
"""Frames of a clip that are used, evenly spread."""

MAX_CLIP_FRAMES = 4_000
"""Frames of a clip that are looked at, whatever its container announces."""

TAKES = "JPEG, PNG and WebP pictures, and clips as MP4, MOV, MKV, WebM or AVI, are taken"


class Embedder(Protocol):
    """Turns uploaded pictures into a query.

    Attributes:
        fingerprint: of its embeddings; the gallery's, or it cannot be used.
    """

    fingerprint: str

    def embed(self, pictures: Sequence[Picture]) -> npt.NDArray[np.float32]:
        """The embedding ``[D]`` of pictures of one person, uint8 ``[h, w, 3]``."""
        ...


def read_pictures(files: Sequence[bytes], settings: ServeSettings) -> list[Picture]:
    """Decode the files of one search.

    Args:
        files: pictures of one person in order of time, or one clip of one person.
        settings: the limits.

    Returns:
        uint8 ``[h, w, 3]``, RGB, upright, no side longer than `KEPT_SIDE`.

    Raises:
        Refused: no file, too many, something else than pictures or one clip, damaged, or larger than the limits.
    """
    if not files:
        raise Refused(400, "no file was sent; send pictures of one person, or one short clip")
    if len(files) > settings.max_files:
        raise Refused(400, f"{len(files)} files were sent; at most {settings.max_files} make one search")
    clips = [is_clip(data) for data in files]
    if not any(clips):
        return [_picture(data, number, settings) for number, data in enumerate(files, start=1)]
    if len(files) > 1:
        raise Refused(400, "a clip is searched on its own; send one clip, or only pictures")
    return _clip(files[0], settings)


def is_clip(data: bytes) -> bool:
    """Whether bytes begin like MP4 or MOV, Matroska or WebM, or AVI.

    Nothing else reaches the video decoder: it also knows playlists, which name other files.
    """
    return (
        data[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free")
        or data[:4] == b"\x1a\x45\xdf\xa3"
        or (data[:4] == b"RIFF" and data[8:12] == b"AVI ")
    )


def _picture(data: bytes, number: int, settings: ServeSettings) -> Picture:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (OSError, ValueError, SyntaxError, Warning, Image.DecompressionBombError):
        raise Refused(415, f"file {number} is no picture that can be read; {TAKES}") from None
    with image:
        width, height = image.size
        _require_pixels(width, height, f"file {number}", settings)
        try:
            image.draft("RGB", (KEPT_SIDE, KEPT_SIDE))  # a large JPEG is decoded at a fraction of its size
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                upright = ImageOps.exif_transpose(image).convert("RGB")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            raise Refused(400, f"file {number} is damaged: its picture cannot be decoded") from None
    return _bounded(np.asarray(upright))


def _clip(data: bytes, settings: ServeSettings) -> list[Picture]:
    kept: list[Picture] = []
    stride = 1
    with tempfile.TemporaryDirectory(prefix="intraclip-") as folder:
        path = Path(folder) / "clip"
        path.write_bytes(data)
        try:
            source = open_source(path, IngestConfig())
            _require_pixels(source.info.width, source.info.height, "the clip", settings)
            for number, frame in enumerate(source.frames()):
                if number >= MAX_CLIP_FRAMES or frame.time_s > settings.max_clip_s:
                    raise Refused(
                        413,
                        f"the clip is longer than {settings.max_clip_s:g} s or {MAX_CLIP_FRAMES:,} frames; send a "
                        "shorter one",
                    )
                if number % stride:
                    continue
                kept.append(_bounded(np.ascontiguousarray(frame.image[..., ::-1])))
                if len(kept) == 2 * MAX_FRAMES:  # how long a clip is, its end alone tells
                    kept, stride = kept[::2], 2 * stride
        except DataError:
            raise Refused(400, f"the clip is damaged, or of a kind that cannot be decoded; {TAKES}") from None
    if not kept:
        raise Refused(400, f"the clip is damaged: none of its frames can be decoded; {TAKES}")
    places = np.linspace(0, len(kept) - 1, min(len(kept), MAX_FRAMES)).round().astype(int)
    return [kept[i] for i in places]


def _require_pixels(width: int, height: int, what: str, settings: ServeSettings) -> None:
    if width * height > settings.max_image_pixels:
        raise Refused(
            413,
            f"{what} has {width:,} x {height:,} pixels, at most {settings.max_image_pixels / 1e6:g} million are "
            "decoded; send a smaller one, or only the person cut out",
        )


def _bounded(frame: Picture) -> Picture:
    height, width = frame.shape[:2]
    scale = KEPT_SIDE / max(height, width)
    if scale >= 1:
        return frame
    return resize_frame(
        np.ascontiguousarray(frame), max(1, round(height * scale)), max(1, round(width * scale))
    )
