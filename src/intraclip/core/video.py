"""Video files: opened and written in one place, whatever they are called, without a word of the libraries' own.

FFmpeg and OpenCV write about damaged files to standard error, amid progress bars and between lines of JSON. What
matters of it is said by who reads: frames that are missing, files that cannot be decoded. ``OPENCV_FFMPEG_LOGLEVEL``,
set before the first video is opened, brings the messages back.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2

from intraclip.core.utf8 import utf8_path
from intraclip.errors import DataError, OutputError

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET; read when OpenCV loads FFmpeg
if "OPENCV_LOG_LEVEL" not in os.environ:
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

DAMAGED = 1024
"""Packets in a row that cannot be decoded before a file counts as over: more than key frames are apart."""

_PLAYLISTS = (
    b"#EXTM3U",
    b"ffconcat",
    b"[playlist]",
    b"<?xml",
    b"<MPD",
    b"<smil",
    b"v=0",
    b"[InternetShortcut]",
)


def open_video(path: Path) -> cv2.VideoCapture:
    """Open a video file for reading; its frames come turned upright.

    Raises:
        DataError: there is no such file, it cannot be read, or it is no video; a playlist is none.
    """
    if not path.is_file():
        raise DataError(f"there is no video {path}; give the path of a video file, or of a folder of frames")
    try:
        with path.open("rb") as file:
            start = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
    except OSError as error:
        raise DataError(
            f"the video {path} cannot be read: {error.strerror}; look at its permissions"
        ) from None
    if start.startswith(_PLAYLISTS):
        # FFmpeg would open what it names, on this machine or another.
        raise DataError(f"{path} is a playlist, no video; give the videos that it names")
    with utf8_path(path) as name:
        # FFmpeg by name: left to itself OpenCV tries image sequences and cameras too.
        capture = cv2.VideoCapture(name, cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise DataError(
            f"{path} ({path.stat().st_size} bytes) is no video that can be read; it is of another "
            "kind, or it was cut off before its index was written"
        )
    # Phones store portrait video lying down, with a note to turn it.
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
    return capture


def next_frame(capture: cv2.VideoCapture) -> tuple[bool, int]:
    """Go on to the next frame of a file that can be decoded; `capture.retrieve` has its pixels.

    OpenCV gives up at the first packet that is damaged, as at the end; asked again it goes on behind it.

    Returns:
        Whether there is one, and how many packets before it could not be decoded; at the end, 0.
    """
    for lost in range(DAMAGED):
        if capture.grab():
            return True, lost
    return False, 0


@contextmanager
def writing_video(
    path: Path, *, codec: str, fps: float, width: int, height: int
) -> Iterator[cv2.VideoWriter]:
    """Open a video file for writing; it takes uint8 ``[height, width, 3]``, BGR.

    Raises:
        OutputError: it cannot be opened.
    """
    with utf8_path(path) as name:
        writer = cv2.VideoWriter(name, cv2.VideoWriter.fourcc(*codec), fps, (width, height))
        try:
            if not writer.isOpened():
                raise OutputError(
                    f"the video {path} cannot be written: OpenCV opens no {codec} encoder there; is the folder "
                    "writable, and is this OpenCV built with FFmpeg?"
                )
            yield writer
        finally:
            writer.release()
