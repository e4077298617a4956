"""Cameras, streams and files as they come: opened in one place, with limits on how long anything may take.

What can be opened: an address (``rtsp://``, ``rtsps://``, ``http://`` and ``https://`` with HLS, MPEG-TS or MJPEG,
``rtmp://``, ``srt://``, ``udp://``), a device (``/dev/video0``, or ``device:0`` by number), or a video file. FFmpeg
reads them, by way of OpenCV; an address is opened as it is given, and nothing else is unless the stream itself, a
playlist of HLS or RTSP, names it. A playlist that came over the network opens no file of this machine: FFmpeg's own
rule.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit, urlunsplit

from intraclip.errors import ConfigError, DataError

if TYPE_CHECKING:
    import cv2

SCHEMES = ("rtsp", "rtsps", "http", "https", "rtmp", "rtmps", "srt", "udp")
"""Kinds of address that are opened."""

PATIENCE_S = 10.0
"""Longest time that opening a stream, or the next frame of it, may take."""

_VARIABLE = re.compile(r"\$\{(\w+)\}")


def is_address(source: str) -> bool:
    """Whether a source is an address, not a device or a file."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", source) is not None


def is_device(source: str) -> bool:
    """Whether a source is a camera at this machine."""
    return source.startswith(("/dev/", "device:"))


def is_file(source: str) -> bool:
    """Whether a source is a video file."""
    return not is_address(source) and not is_device(source)


def check_source(source: str) -> None:
    """Refuse what cannot be opened at all, before anything is.

    Raises:
        ConfigError: an address of another kind.
        DataError: no such device or file.
    """
    if is_address(source):
        try:
            scheme, host = urlsplit(source).scheme.lower(), urlsplit(source).hostname
        except ValueError:
            scheme, host = "", None
        if scheme not in SCHEMES or not host:
            raise ConfigError(
                f"the camera's address {shown(source)} cannot be opened; write one of {', '.join(SCHEMES)}, "
                "such as rtsp://host:554/stream"
            )
    elif source.startswith("device:"):
        if not source.removeprefix("device:").isdecimal():
            raise ConfigError(f"the camera {source!r}: write the number of a device, such as device:0")
    elif not Path(source).exists():
        what = "device" if is_device(source) else "video"
        raise DataError(f"there is no {what} {source}; give an address, a device or a video file")


def shown(source: str) -> str:
    """A source as it may be printed and logged: without user, password and what follows a question mark.

    >>> shown("rtsp://admin:secret@10.0.0.7:554/live?key=1"), shown("/dev/video0")
    ('rtsp://10.0.0.7:554/live', '/dev/video0')
    """
    if not is_address(source):
        return source
    try:
        parts = urlsplit(source)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    except ValueError:
        return f"{source.partition('://')[0]}://..."


def has_password(source: str) -> bool:
    """Whether a text has an address with a password in it, in so many words.

    >>> has_password("rtsp://me:secret@host/1"), has_password("rtsp://me:${PASSWORD}@host/1"), has_password("a.mp4")
    (True, False, False)
    """
    found = re.search(r"[A-Za-z][A-Za-z0-9+.-]*://[^/@]*:([^/]*)@", source)
    return found is not None and bool(_VARIABLE.sub("", found[1]))


def with_variables(source: str, environment: Mapping[str, str] = os.environ) -> str:
    """An address with ``${NAME}`` replaced by that variable of the environment, percent-encoded.

    Raises:
        ConfigError: there is no such variable.

    >>> with_variables("rtsp://me:${PASSWORD}@host/1", {"PASSWORD": "a@b"})
    'rtsp://me:a%40b@host/1'
    """
    if not is_address(source):
        return source

    def value(match: re.Match[str]) -> str:
        if match[1] not in environment:
            raise ConfigError(
                f"the camera's address {shown(source)} asks for the variable {match[1]} of the environment, which is "
                "not set"
            )
        return quote(environment[match[1]], safe="")

    return _VARIABLE.sub(value, source)


def open_stream(source: str, *, patience_s: float = PATIENCE_S) -> cv2.VideoCapture:
    """Open a source for reading; frames come turned upright.

    Args:
        source: an address, a device or a file.
        patience_s: longest time that opening, or later the next frame of an address, may take.

    Raises:
        DataError: it cannot be opened now.
    """
    import cv2

    from intraclip.core.video import open_video

    check_source(source)
    if is_file(source):
        return open_video(Path(source))
    if is_device(source):
        number = source.removeprefix("device:")
        capture = (
            cv2.VideoCapture(int(number)) if number.isdecimal() else cv2.VideoCapture(source, cv2.CAP_V4L2)
        )
        if not capture.isOpened():
            raise DataError(
                f"the camera {source} cannot be opened; is another program using it, and may this user read it?"
            )
        return capture
    milliseconds = int(1000 * patience_s)
    options = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, milliseconds, cv2.CAP_PROP_READ_TIMEOUT_MSEC, milliseconds,
        cv2.CAP_PROP_N_THREADS, 1,  # several decode several frames at once, and give each of them that much later
    ]  # fmt: skip
    capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG, options)
    if not capture.isOpened():
        raise DataError(
            f"{shown(source)} cannot be opened: nothing answers there within {patience_s:g} s, it asks for another "
            "password, or it sends no video"
        )
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
    return capture
