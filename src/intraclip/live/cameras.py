"""A camera that is read by the clock: the newest frame counts, and what nobody had time for is dropped and counted.

Each camera has a thread that reads, reconnects, and keeps one frame. Whoever looks at frames takes that one; frames
that a newer one has replaced are gone. So a machine that is too slow sees fewer frames, never older ones.

Times are those of arrival by a clock that nobody sets; the stamps of streams jump, and so does the clock on the wall.
Files are played at the speed of the clock, by their stamps.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np

from intraclip.core.streams import is_file, open_stream, shown
from intraclip.core.video import next_frame
from intraclip.errors import ConfigError, IntraclipError
from intraclip.ingest.frame_source import FALLBACK_FPS, VideoFrame
from intraclip.live.settings import LiveSettings
from intraclip.live.status import CameraCounts

State = Literal["connecting", "live", "waiting", "ended"]
"""Of a camera: being opened, sending frames, waiting for the next try, or a file that is over."""

LONGEST_WAIT_S = 60.0
"""Before a camera that failed is opened again; twice as long each time, and short again once frames came."""

JUMP_S = 5.0
"""Stamps of a file that go on by more than this, or go back, are not waited for."""


@dataclass(frozen=True, kw_only=True)
class Camera:
    """One camera.

    Attributes:
        number: of the camera, at least 0; ``camid`` in the gallery.
        source: address, device or file, see `intraclip.core.streams`; may hold a password.
        name: in the gallery.
    """

    number: int
    source: str = field(repr=False)
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveFrame(VideoFrame):
    """A frame of a camera; `index` and `time_s` count from when it was begun with.

    Attributes:
        arrived: when it came, by `time.monotonic`.
        at: when it came, Unix seconds.
        cut: the frames before it do not lead to it: the connection was lost, the file began anew, or the size changed.
    """

    arrived: float
    at: float
    cut: bool


class Interval:
    """How often something happens, by about the last twenty times."""

    def __init__(self) -> None:
        self._mean = 0.0

    def add(self, seconds: float) -> None:
        """It happened, so long after the last time."""
        self._mean += (0.05 if self._mean else 1.0) * (seconds - self._mean)

    @property
    def rate(self) -> float:
        """Times a second; 0 where that is not known."""
        return 1 / self._mean if self._mean > 0 else 0.0


class CameraReader:
    """Reads a camera in a thread of its own.

    Args:
        news: is set whenever there is a frame, or the camera has ended.
        max_fps: most frames a second that are offered; 0 for all.

    Attributes:
        wanted: says whether anybody wants to see the frame of a time; frames that nobody does are not converted to
            pixels, and count as carried. Asked by the reader's thread.
        problem: why it waits; empty otherwise.
        size: width and height of the frames; zeros before the first.
    """

    def __init__(
        self,
        camera: Camera,
        settings: LiveSettings,
        *,
        news: threading.Event,
        max_fps: float = 0.0,
    ) -> None:
        self.camera = camera
        self.wanted: Callable[[float], bool] = lambda _: True
        self.counts = CameraCounts()
        self.state: State = "connecting"
        self.problem = ""
        self.size = (0, 0)
        self._interval, self._followed = Interval(), Interval()
        self._last_followed = 0.0
        self._news = news
        self._max_fps = max_fps
        self._settings = settings
        self._speed = settings.speed if is_file(camera.source) else 1.0
        self._lock = threading.Condition()
        self._frame: LiveFrame | None = None
        self._cut = False
        self._stop = threading.Event()
        self._index = -1
        self._played_s = 0.0
        self._started = 0.0
        self._last_time_s = -1.0
        self._last_arrival = 0.0
        self._due = -math.inf
        self._thread = threading.Thread(target=self._run, name=f"camera-{camera.number}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._started = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end; `join` waits for that."""
        self._stop.set()
        with self._lock:
            self._lock.notify()

    def join(self, timeout_s: float) -> None:
        """Wait until it has ended, but not longer than this: a library may still wait for a frame."""
        self._thread.join(timeout_s)

    def take(self) -> LiveFrame | None:
        """The newest frame that nobody has taken; None where there is none."""
        with self._lock:
            frame, self._frame = self._frame, None
            if frame is not None:
                self._lock.notify()
        return frame

    def looked(self, arrived: float, *, searched: bool) -> None:
        """Count the frame that was taken and had come at that time: it was searched, or tracks were carried over it."""
        with self._lock:
            if self._last_followed:
                self._followed.add(max(arrived - self._last_followed, 0.0))
            # A frame that is being searched is passed by later ones that tracks are carried over.
            self._last_followed = max(arrived, self._last_followed)
            if searched:
                self.counts.searched += 1
            else:
                self.counts.carried += 1

    @property
    def waiting(self) -> bool:
        """Whether a frame is there to be taken."""
        return self._frame is not None

    @property
    def fps(self) -> float:
        """Frames a second that came lately; 0 while none do."""
        return self._interval.rate

    @property
    def followed_fps(self) -> float:
        """Of these, those that were searched or carried over; 0 while none come."""
        return self._followed.rate if self.state == "live" else 0.0

    @property
    def silent_s(self) -> float:
        """Seconds since the last frame came."""
        return time.monotonic() - self._last_arrival

    # -- the thread ----------------------------------------------------------------------------------------

    def _run(self) -> None:
        wait = self._settings.first_wait_s
        while not self._stop.is_set():
            self.state = "connecting"
            before = self.counts.received
            try:
                capture = open_stream(self.camera.source, patience_s=self._settings.patience_s)
            except IntraclipError as error:
                self.problem = str(error)
            else:
                self.counts.connections += 1
                self._cut = self._index >= 0
                try:
                    self._read(capture)
                finally:
                    capture.release()
                if self._stop.is_set():
                    break
                if is_file(self.camera.source) and self.counts.received > before:
                    if not self._settings.loop:
                        break
                    continue
                self.problem = f"{shown(self.camera.source)} sends no more frames"
            if self.counts.received > before:
                wait = self._settings.first_wait_s
            self.counts.failures += 1
            self.state = "waiting"
            self._interval, self._followed, self._last_followed = Interval(), Interval(), 0.0
            self._news.set()
            self._stop.wait(wait)
            wait = min(2 * wait, LONGEST_WAIT_S)
        self.state = "ended"
        self._news.set()

    def _read(self, capture: cv2.VideoCapture) -> None:
        pace = (
            _Pace(capture, self._speed, self._played_s, self._stop) if is_file(self.camera.source) else None
        )
        while not self._stop.is_set() and (capture.grab() if pace is None else next_frame(capture)[0]):
            if pace is not None:
                self._played_s = pace.wait()
                if self._stop.is_set():
                    return
            self._arrived(capture, self._played_s if pace is not None else None)

    def _arrived(self, capture: cv2.VideoCapture, played_s: float | None) -> None:
        now = time.monotonic()
        if self.counts.received:
            self._interval.add(now - self._last_arrival)
        self._last_arrival = now
        self.counts.received += 1
        self._index += 1
        self.state, self.problem = "live", ""
        time_s = now - self._started if played_s is None else played_s
        time_s = max(time_s, self._last_time_s + 1e-3)
        if self._max_fps:
            interval = 1 / self._max_fps
            if time_s < self._due - 0.2 * interval:
                self.counts.skipped += 1
                return
            self._due = (time_s if time_s - self._due > interval else self._due) + interval
        if not self._cut and not self.wanted(time_s):
            self._last_time_s = time_s
            self.looked(now, searched=False)
            return
        ok, pixels = capture.retrieve()
        if not ok:
            return
        image = np.asarray(pixels, dtype=np.uint8)
        if image.ndim == 2:
            image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR).astype(np.uint8)
        size = (image.shape[1], image.shape[0])
        cut = self._cut or (self.size != size and self.size != (0, 0))
        self.size, self._last_time_s, self._cut = size, time_s, False
        with self._lock:
            if not self._speed:
                self._lock.wait_for(lambda: self._frame is None or self._stop.is_set())
            if self._frame is not None:
                self.counts.dropped += 1
                cut = cut or self._frame.cut  # what was not looked at is still not led up to
            self._frame = LiveFrame(
                index=self._index, time_s=time_s, arrived=now, at=time.time(), image=image, cut=cut
            )
        self._news.set()


class _Pace:
    """When the frames of a file are due."""

    def __init__(
        self, capture: cv2.VideoCapture, speed: float, played_s: float, stop: threading.Event
    ) -> None:
        fps = capture.get(cv2.CAP_PROP_FPS)
        self._period = 1 / (fps if math.isfinite(fps) and 0 < fps <= 1000 else FALLBACK_FPS)
        self._capture, self._speed, self._stop = capture, speed, stop
        self._played = played_s
        self._stamp: float | None = None
        self._begin = time.monotonic() - (played_s / speed if speed else 0)

    def wait(self) -> float:
        """Wait until the frame that was grabbed is due; seconds that have been played then."""
        stamp = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        step = self._period if self._stamp is None else stamp - self._stamp
        if not math.isfinite(step) or not 0 < step < JUMP_S:
            step = self._period
        self._stamp = stamp
        self._played += step
        if not self._speed:
            return self._played
        late = time.monotonic() - (self._begin + self._played / self._speed)
        if late < 0:
            self._stop.wait(-late)
        elif late > 1:  # the machine slept, or cannot read so fast: what was missed is not made up for
            self._begin += late
        return self._played


def parse_cameras(words: list[str] | tuple[str, ...]) -> list[Camera]:
    """Cameras as they are written, such as ``1=rtsp://host/stream`` or ``lobby=/dev/video0``.

    A name instead of a number is the camera's name; those cameras are numbered from 1 in order.

    Raises:
        ConfigError: one is written otherwise, or two are called the same.

    >>> [(c.number, c.name, c.source) for c in parse_cameras(["2=/dev/video0", "lobby=a.mp4"])]
    [(2, 'cam2', '/dev/video0'), (1, 'lobby', 'a.mp4')]
    """
    found: list[tuple[str, str]] = []
    for word in words:
        name, equals, source = word.partition("=")
        if not equals or not name.strip() or not source.strip() or "/" in name:
            raise ConfigError(
                f"--camera {shown(word)!r}: write a number or a name and where it is, such as 1=rtsp://host/stream, "
                "2=/dev/video0 or lobby=clip.mp4"
            )
        found.append((name.strip(), source.strip()))
    names = [f"cam{int(name)}" if name.isdecimal() else name for name, _ in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(
            f"two cameras are called {', '.join(twice)}; each needs a number or name of its own"
        )
    taken = {int(name) for name, _ in found if name.isdecimal()}
    free = (n for n in range(1, len(found) + 1000) if n not in taken)
    return [
        Camera(number=int(name) if name.isdecimal() else next(free), source=source, name=called)
        for (name, source), called in zip(found, names, strict=True)
    ]
