"""Uploaded files -> pictures of a person, in a process of its own. What a file is, its bytes say.

``python -m intraclip.serve.decoding`` is that process; `intraclip.serve.uploads` starts it. It reads requests from its
standard input and answers each on its standard output. On Linux every request is decoded in a fork with limits on
memory, processor time and files, elsewhere the process ends after one. Nothing here may import torch or the gallery.

A request: the length of a JSON header, four bytes; ``{"limits": {...}, "lengths": [...]}``; the files. An answer: the
length of a JSON header; ``{"shapes": [[h, w], ...]}`` and the pixels, or ``{"status": 413, "message": "..."}``.
"""

from __future__ import annotations

import gc
import io
import json
import os
import random
import select
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from intraclip.core.media import Limits, NoPictureError, PictureTooLargeError, decode_picture
from intraclip.core.spread import spread
from intraclip.data.frames import shrunk
from intraclip.errors import DataError, FrameError
from intraclip.ingest.sources import open_source
from intraclip.serve.settings import DecodeLimits

Picture = npt.NDArray[np.uint8]
"""uint8 ``[h, w, 3]``, RGB: one person, cut out."""

FORMATS = ("JPEG", "PNG", "WEBP")

KEPT_SIDE = 768
"""Decoded pictures are made smaller than this at once; every network here looks at less."""

MAX_FRAMES = 64
"""Frames of a clip that are used, evenly spread."""

MAX_HEADER_BYTES = 2**16

TAKES = "JPEG, PNG and WebP pictures, and clips as MP4, MOV, MKV, WebM or AVI, are taken"

FORKS = sys.platform == "linux"
"""Elsewhere libraries are not safe to use behind a fork, and the limits are not kept."""

THREADS = 2
"""Processors that a clip is decoded on."""


class UndecodableError(Exception):
    """Files that are no pictures, are damaged, or cost more than the limits allow."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


def read_pictures(files: Sequence[bytes], limits: DecodeLimits) -> list[Picture]:
    """Decode the files of one search.

    Returns:
        uint8 ``[h, w, 3]``, RGB, upright, no side longer than `KEPT_SIDE`.

    Raises:
        UndecodableError: no file, something else than pictures or one clip, damaged, or larger than the limits.
    """
    if not files:
        raise UndecodableError(400, "no file was sent; send pictures of one person, or one short clip")
    clips = [is_clip(data) for data in files]
    if not any(clips):
        return [_picture(data, f"file {number}", limits) for number, data in enumerate(files, start=1)]
    if len(files) > 1:
        raise UndecodableError(400, "a clip is searched on its own; send one clip, or only pictures")
    return _clip(files[0], limits)


def is_clip(data: bytes) -> bool:
    """Whether bytes begin like MP4 or MOV, Matroska or WebM, or AVI.

    Nothing else reaches the video decoder: it also knows playlists, which name other files.
    """
    return (
        data[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free")
        or data[:4] == b"\x1a\x45\xdf\xa3"
        or (data[:4] == b"RIFF" and data[8:12] == b"AVI ")
    )


def _picture(data: bytes, what: str, limits: DecodeLimits) -> Picture:
    bounds = Limits(side=limits.image_side, pixels=limits.image_pixels, scanned=limits.scanned_pixels)
    try:
        return _small(
            decode_picture(
                np.frombuffer(data, np.uint8), what, limits=bounds, formats=FORMATS, enough=KEPT_SIDE
            )
        )
    except NoPictureError:
        raise UndecodableError(415, f"{what} is not a picture that can be read; {TAKES}") from None
    except PictureTooLargeError as error:
        raise UndecodableError(413, f"{what} is too large: {error.reason}") from None
    except FrameError as error:
        raise UndecodableError(400, f"{what} is damaged, or cannot be shown: {error.reason}") from None


def _clip(data: bytes, limits: DecodeLimits) -> list[Picture]:
    with _as_file(data) as path:
        try:
            kept = spread(_frames(path, limits), MAX_FRAMES, keep=lambda image: _small(image[..., ::-1]))
        except (DataError, cv2.error):
            raise UndecodableError(
                400, f"the clip is damaged, or of a kind that cannot be decoded; {TAKES}"
            ) from None
    if not kept:
        raise UndecodableError(400, f"the clip is damaged: none of its frames can be decoded; {TAKES}")
    return kept


def _frames(path: Path, limits: DecodeLimits) -> Iterator[Picture]:
    """Frames of a clip, BGR, as long as they keep to the limits."""
    source = open_source(path)
    _require_size(source.info.width, source.info.height, "the clip", limits)
    pixels = 0
    for number, frame in enumerate(source.frames()):
        if number >= limits.clip_frames or frame.time_s > limits.clip_s:
            raise UndecodableError(
                413,
                f"the clip is longer than {limits.clip_s:g} s or {limits.clip_frames:,} frames; send a shorter one",
            )
        height, width = frame.image.shape[:2]
        _require_size(width, height, "a frame of the clip", limits)
        pixels += height * width
        if pixels > limits.clip_pixels:
            raise UndecodableError(
                413,
                f"the clip has more than {limits.clip_pixels / 1e6:,.0f} million pixels in all; send a shorter "
                "or a smaller one",
            )
        yield frame.image


def _small(image: Picture) -> Picture:
    return shrunk(np.ascontiguousarray(image), KEPT_SIDE / max(image.shape[:2]))


@contextmanager
def _as_file(data: bytes) -> Iterator[Path]:
    """The video decoder wants a path. The file has no name that could outlive the process, on Linux no disk either."""
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("clip"), "wb") as file:
            yield _written(file, data)
    elif os.name == "posix":
        with tempfile.TemporaryFile() as file:
            yield _written(file, data)
    else:
        with tempfile.TemporaryDirectory(prefix="intraclip-") as folder:
            path = Path(folder) / "clip"
            path.write_bytes(data)
            yield path


def _written(file: Any, data: bytes) -> Path:
    file.write(data)
    file.flush()
    file.seek(0)
    return Path(f"/dev/fd/{file.fileno()}")


def _require_size(width: int, height: int, what: str, limits: DecodeLimits) -> None:
    if width * height > limits.image_pixels or max(width, height) > limits.image_side:
        raise UndecodableError(
            413,
            f"{what} has {width:,} x {height:,} pixels, at most {limits.image_pixels / 1e6:g} million and "
            f"{limits.image_side:,} a side are decoded; send a smaller one, or only the person cut out",
        )


# -- between the processes ---------------------------------------------------------------------------------


def pack(files: Sequence[bytes], limits: DecodeLimits) -> bytes:
    """A request."""
    return b"".join([_header({"limits": asdict(limits), "lengths": [len(f) for f in files]}), *files])


def read_answer(stream: BinaryIO) -> list[Picture]:
    """The pictures of an answer.

    Raises:
        UndecodableError: the answer is a refusal.
        EOFError: the process ended.
        ValueError: no answer of ours: whoever has broken into the decoder gets no further here.
    """
    header = json.loads(_exactly(stream, _length(stream)))
    if "status" in header:
        if header["status"] not in (400, 413, 415):
            raise ValueError("an unknown status")
        raise UndecodableError(header["status"], str(header["message"]))
    shapes = [(int(height), int(width)) for height, width in header["shapes"]]
    if len(shapes) > MAX_FRAMES or any(not 1 <= side <= KEPT_SIDE for shape in shapes for side in shape):
        raise ValueError("pictures of a wrong size")
    return [np.frombuffer(_exactly(stream, 3 * h * w), np.uint8).reshape(h, w, 3) for h, w in shapes]


def _header(content: dict[str, Any]) -> bytes:
    text = json.dumps(content).encode()
    return len(text).to_bytes(4, "big") + text


def _length(stream: BinaryIO) -> int:
    length = int.from_bytes(_exactly(stream, 4), "big")
    if length > MAX_HEADER_BYTES:
        raise ValueError("a header that is too long")
    return length


def _exactly(stream: BinaryIO, size: int) -> bytes:
    found = stream.read(size)
    if len(found) < size:
        raise EOFError
    return found


def main() -> int:
    """Answer requests until the standard input ends."""
    cv2.setNumThreads(1)
    _warm_up()
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    while True:
        try:
            header = json.loads(_exactly(requests, _length(requests)))
            files = [_exactly(requests, length) for length in header["lengths"]]
        except EOFError:
            return 0
        limits = DecodeLimits(**header["limits"])
        if not FORKS:
            _answer(files, limits, answers)
            return 0
        child = os.fork()
        if not child:
            code = 1
            try:
                os.close(requests.fileno())  # what others upload later is not for this one
                _limit(limits)
                _answer(files, limits, answers)
                code = 0
            finally:
                os._exit(code)
        del files
        if _wait(child):
            return 1  # perhaps half an answer is out


def _warm_up() -> None:
    """Do once what every fork would do again: Pillow loads its formats when it first meets them."""
    Image.init()
    for name in FORMATS:
        data = io.BytesIO()
        Image.new("RGB", (16, 16)).save(data, name)
        read_pictures([data.getvalue()], DecodeLimits())
    gc.freeze()


def _wait(child: int) -> int:
    """The child's status; should the service end first, the child and this process end as well."""
    requests, ended = sys.stdin.fileno(), os.pidfd_open(child)
    watched = select.poll()
    watched.register(requests, 0)  # tells of nothing but its end
    watched.register(ended, select.POLLIN)
    if any(number == requests for number, _ in watched.poll()):
        os.kill(child, signal.SIGKILL)
    os.close(ended)
    return os.waitpid(child, 0)[1]


def _answer(files: Sequence[bytes], limits: DecodeLimits, answers: BinaryIO) -> None:
    try:
        pictures = read_pictures(files, limits)
        parts = [_header({"shapes": [p.shape[:2] for p in pictures]}), *(p.tobytes() for p in pictures)]
    except UndecodableError as refusal:
        parts = [_header({"status": refusal.status, "message": refusal.message})]
    except MemoryError:
        message = (
            f"decoding takes more than {limits.memory_bytes / 2**20:,.0f} MiB of memory; send smaller files"
        )
        parts = [_header({"status": 413, "message": message})]
    for part in parts:
        answers.write(part)
    answers.flush()


def _limit(limits: DecodeLimits) -> None:
    """Bound this process; there is no way back."""
    import resource

    processors = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, random.sample(processors, min(THREADS, len(processors))))
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    bounds = {
        resource.RLIMIT_AS: pages * resource.getpagesize() + limits.memory_bytes,
        resource.RLIMIT_CPU: 2 * limits.seconds,
        resource.RLIMIT_CORE: 0,  # what was uploaded stays out of core files
        resource.RLIMIT_NOFILE: 64,
    }
    for what, most in bounds.items():
        hard = resource.getrlimit(what)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))


if __name__ == "__main__":
    sys.exit(main())
