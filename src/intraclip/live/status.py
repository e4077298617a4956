"""How cameras are, and all of it together."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(kw_only=True)
class CameraCounts:
    """What became of a camera's frames.

    Attributes:
        received: frames that came.
        skipped: of these, left out because `max_fps` says so.
        dropped: of these, replaced by a newer one before anybody had time.
        searched: of these, searched for people.
        carried: of these, not searched, as nobody can have moved far since the last search, or nothing has moved at
            all: tracks are carried over them.
        connections: times that it was opened.
        failures: times that it could not be opened, or was lost.
    """

    received: int = 0
    skipped: int = 0
    dropped: int = 0
    searched: int = 0
    carried: int = 0
    connections: int = 0
    failures: int = 0


@dataclass(kw_only=True)
class CameraStatus(CameraCounts):
    """How a camera is.

    Attributes:
        name: in the gallery.
        source: without user and password.
        state: connecting, live, waiting (for the next try), or ended.
        problem: why it waits; empty otherwise.
        width: of its frames, in pixels, as the height; 0 before the first.
        fps: frames a second that come.
        followed_fps: frames a second in which people are followed: searched, or tracks are carried over them.
        tiled: whether small people are searched for on tiles; None while that is being found out.
        tracklets: that ended and went to the gallery.
        left_out: tracklets that were dropped, by reason.
    """

    number: int
    name: str
    source: str
    state: str
    problem: str
    width: int
    height: int
    fps: float
    followed_fps: float
    tiled: bool | None
    people: int
    tracklets: int
    left_out: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class LiveStatus:
    """How all is.

    Attributes:
        tracklets: that are in the gallery, of this run.
        alerts: raised in this run.
        waiting: tracklets that wait to be written.
        deleted: tracklets that retention deleted.
        latency_p95: seconds from the last sight of a person to the alert, 95th percentile of the last thousand
            tracklets, compared with the watch-list or not; None before the first.
        problems: what is wrong now, in sentences.
    """

    running: bool = False
    seconds: float = 0.0
    cameras: tuple[CameraStatus, ...] = ()
    tracklets: int = 0
    alerts: int = 0
    waiting: int = 0
    deleted: int = 0
    latency_p95: float | None = None
    problems: tuple[str, ...] = ()
