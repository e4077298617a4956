"""How cameras are, and all of it together."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class CameraStatus:
    """How a camera is.

    Attributes:
        number: of the camera.
        name: in the gallery.
        source: without user and password.
        state: connecting, live, waiting (for the next try), or ended.
        problem: why it waits; empty otherwise.
        width: of its frames, in pixels; 0 before the first.
        height: of its frames.
        fps: frames a second that come.
        followed_fps: frames a second in which people are followed: searched, or tracks are carried over them.
        received: frames that came.
        skipped: left out because --max-fps says so.
        dropped: left out because the machine was too slow.
        searched: the detector looked for people in them.
        carried: not searched, as nobody can have moved far, or nothing has moved at all, since the last search; tracks
            are carried over them.
        connections: times that it was opened.
        failures: times that it could not be opened, or was lost.
        tiled: whether small people are searched for on tiles; None while that is being found out.
        people: followed now.
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
    received: int
    skipped: int
    dropped: int
    searched: int
    carried: int
    connections: int
    failures: int
    tiled: bool | None
    people: int
    tracklets: int
    left_out: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class LiveStatus:
    """How all is.

    Attributes:
        running: whether cameras are read.
        seconds: since the beginning.
        cameras: one by one.
        tracklets: that are in the gallery, of this run.
        alerts: raised in this run.
        waiting: tracklets that wait to be written.
        deleted: tracklets that retention deleted.
        latency_p95: seconds from the last sight of a person to the alert, 95th percentile of the last thousand
            tracklets, compared with the watch-list or not; None before the first.
        problems: what is wrong now, in sentences.
    """

    running: bool
    seconds: float
    cameras: tuple[CameraStatus, ...]
    tracklets: int
    alerts: int
    waiting: int
    deleted: int
    latency_p95: float | None
    problems: tuple[str, ...]
