"""Several cameras, one detector, one network, one gallery.

As many threads as there are cores look at frames, each at those of one camera at a time, always the newest. Another one
writes what has ended, compares it with the watch-list and raises alerts: neither a slow disk nor a slow receiver holds
up the cameras. When a tracklet is in the gallery it survives whatever ends the program; what is lost then are those
that had not ended.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from intraclip.core.streams import shown, with_variables
from intraclip.embed.network import Network
from intraclip.errors import ConfigError, DataError, IntraclipError, OutputError
from intraclip.gallery.gallery import Gallery
from intraclip.gallery.retention import Retention
from intraclip.ingest.config import IngestConfig
from intraclip.ingest.detections import Detections
from intraclip.ingest.detector import Detector
from intraclip.ingest.follow import from_network, tiles_or_trial
from intraclip.ingest.frame_source import FALLBACK_FPS, Image, VideoFrame
from intraclip.ingest.search import finder
from intraclip.ingest.tiling import PROBE_FRAMES, TilesTrial
from intraclip.ingest.tracking import PeopleTracker
from intraclip.live.alerts import Alert, Alerts
from intraclip.live.cameras import Camera, CameraReader
from intraclip.live.follow import CameraFollower, Ended, session_name
from intraclip.live.senders import Channel, Sender
from intraclip.live.settings import LiveSettings
from intraclip.live.status import CameraStatus, LiveStatus
from intraclip.live.watchlist import Matcher, WatchList

WAITING = 512
"""Tracklets that may wait to be written; while as many do, frames are dropped instead."""

SAVE_S = 10.0
"""Between two times that counts of comparisons are kept."""


class Live:
    """Watches cameras until it is stopped, or all of them, being files, are over.

    Args:
        gallery: takes the tracklets; of this network.
        network: embeds them; its head reads the mean of frame vectors.
        cameras: at least one; ``${NAME}`` in an address stands for a variable of the environment.
        config: of detection, tracking and gates, as of ingest.
        channels: whom alerts are sent to.
        actor: for the audit log.

    Raises:
        ConfigError: no camera, or a network whose head reads more than the mean.
        DataError: the gallery is another network's.
        MissingExtraError: the trackers library is not installed.
    """

    def __init__(
        self,
        gallery: Gallery,
        network: Network,
        detector: Detector,
        cameras: Sequence[Camera],
        config: IngestConfig | None = None,
        settings: LiveSettings | None = None,
        *,
        channels: Sequence[Channel] = (),
        actor: str = "",
    ) -> None:
        if not cameras:
            raise ConfigError("name at least one camera, such as --camera 1=rtsp://host/stream")
        gallery.require_fingerprint(network.fingerprint)
        self._gallery, self._fingerprint = gallery, network.fingerprint
        self._settings = settings or LiveSettings()
        self._config = config or IngestConfig()
        self._actor = actor
        self._news = threading.Event()
        self._stop = threading.Event()
        self._over = threading.Event()
        # loads what all trackers need; cameras would wait for it
        PeopleTracker(self._config, fps=FALLBACK_FPS)
        self._embedder = network.live()
        self._eyes = [
            _Eye(camera, detector, self._embedder, self._config, self._settings, self._news)
            for camera in cameras
        ]
        self._ended: queue.Queue[Ended | None] = queue.Queue(WAITING)
        self._senders = [Sender(gallery, channel) for channel in channels]
        self._beside: list[Sender | Retention] = [*self._senders]
        self._matcher = Matcher(gallery)
        self._alerts = Alerts(gallery)
        spared = WatchList(gallery).kept_tracklets
        self._retention = Retention(gallery, self._settings.keep_s, spared=spared, actor=actor)
        if self._settings.keep_s:
            self._beside.append(self._retention)
        self._last_alert: dict[tuple[str, str], tuple[float, str]] = {}
        self._problem = ""
        self._written = self._raised = 0
        self.latencies: deque[float] = deque(maxlen=1000)
        self._begun = self._seconds = 0.0
        self._looking = threading.Thread(target=self._look, name="looking", daemon=True)
        self._writing = threading.Thread(target=self._write, name="writing", daemon=True)
        self.on_alert: Callable[[Alert], None] = lambda _: None

    # -- running -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin."""
        self._begun = time.monotonic()
        self._gallery.audit("live", {"cameras": len(self._eyes)}, actor=self._actor, origin="live")
        for one in self._beside:
            one.start()
        for eye in self._eyes:
            eye.reader.start()
        self._writing.start()
        self._looking.start()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until all cameras have ended, and what they showed is written; False if that took longer."""
        return self._over.wait(timeout_s)

    def stop(self) -> None:
        """End: who is being followed counts as having left, and is written."""
        self._stop.set()
        self._news.set()
        for eye in self._eyes:
            eye.reader.stop()
        if self._begun:
            self._looking.join()
            self._writing.join()
            for eye in self._eyes:
                eye.reader.join(1.0)
            for one in self._beside:
                one.stop()
            counts = {"tracklets": self._written, "alerts": self._raised}
            self._gallery.audit("live-ended", counts, actor=self._actor, origin="live")
            self._seconds, self._begun = time.monotonic() - self._begun, 0.0

    def __enter__(self) -> Live:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def status(self) -> LiveStatus:
        """How all is now."""
        seconds = time.monotonic() - self._begun if self._begun else self._seconds
        wrong = [self._problem, *(one.problem for one in self._beside)]
        late = list(self.latencies)
        return LiveStatus(
            running=bool(self._begun) and not self._over.is_set(),
            seconds=seconds,
            cameras=tuple(eye.status() for eye in self._eyes),
            tracklets=self._written,
            alerts=self._raised,
            waiting=self._ended.qsize(),
            deleted=self._retention.deleted,
            latency_p95=float(np.percentile(late, 95)) if late else None,
            problems=tuple(p for p in wrong if p),
        )

    # -- looking -------------------------------------------------------------------------------------------

    def _look(self) -> None:
        try:
            with ThreadPoolExecutor(
                min(os.cpu_count() or 1, len(self._eyes)), thread_name_prefix="eye"
            ) as pool:
                self._look_side_by_side(pool)
        except IntraclipError as error:
            self._problem = str(error)
        finally:
            for eye in self._eyes:
                self._hand_on(eye.follower.leave() if eye.follower is not None else [])
            self._ended.put(None)

    def _look_side_by_side(self, pool: ThreadPoolExecutor) -> None:
        """Every camera that has a frame waits for its turn once; which frame that is, is known when it comes."""
        busy: dict[_Eye, Future[list[Ended]]] = {}
        while not self._stop.is_set():
            self._news.wait(0.2)
            self._news.clear()
            for eye in self._eyes:
                if (work := busy.get(eye)) is not None:
                    if not work.done():
                        continue
                    self._hand_on(busy.pop(eye).result())
                if eye.reader.waiting:
                    busy[eye] = pool.submit(eye.step)
                    busy[eye].add_done_callback(lambda _: self._news.set())
                else:
                    self._hand_on(eye.idle())
            if not busy and all(eye.reader.state == "ended" and not eye.reader.waiting for eye in self._eyes):
                break
        for work in busy.values():
            self._hand_on(work.result())

    def _hand_on(self, ended: Sequence[Ended]) -> None:
        for one in ended:
            self._ended.put(one)

    # -- writing -------------------------------------------------------------------------------------------

    def _write(self) -> None:
        save_at = time.monotonic() + SAVE_S
        last = False
        while not last:
            batch: list[Ended | None] = []
            with suppress(queue.Empty):
                batch.append(self._ended.get(timeout=1.0))
                while len(batch) < 64:
                    batch.append(self._ended.get_nowait())
            last = None in batch
            self._keep([one for one in batch if one is not None])
            if last or time.monotonic() >= save_at:
                save_at = time.monotonic() + SAVE_S
                try:
                    self._matcher.save()
                except IntraclipError as error:
                    self._problem = str(error)
        self._over.set()

    def _keep(self, batch: list[Ended]) -> None:
        """Write tracklets, and compare them; a full disk is waited for, as long as the program runs."""
        wait = 1.0
        while batch:
            try:
                self._gallery.add(
                    [one.record for one in batch],
                    np.stack([one.vector for one in batch]),
                    fingerprint=self._fingerprint,
                    pictures=[one.pictures for one in batch],
                )
            except OutputError as error:
                self._problem = str(error)
                if self._stop.wait(wait):
                    return
                wait = min(2 * wait, 60.0)
                continue
            except DataError as error:
                self._problem = str(error)
                if len(batch) == 1:
                    return
                for one in batch:  # one of them cannot be kept; the others can
                    self._keep([one])
                return
            self._problem = ""
            self._written += len(batch)
            for one in batch:
                try:
                    self._compare(one)
                except IntraclipError as error:
                    self._problem = str(error)
                self.latencies.append(time.monotonic() - one.seen)
            return

    def _compare(self, one: Ended) -> None:
        for hit in self._matcher.match(one.record.id, one.vector):
            place = hit.watched.id, one.record.camera
            at, track = self._last_alert.get(place, (-1e9, ""))
            # Parts of one stay, and a track that broke, are one event.
            if track == one.track or one.found - at < self._settings.alert_gap_s:
                self._last_alert[place] = (at, one.track)
                continue
            self._last_alert[place] = (one.found, one.track)
            alert = self._alerts.raise_for(hit, one.record.id)
            self._matcher.alerted(hit)
            self._raised += 1
            for sender in self._senders:
                sender.wake()
            self.on_alert(alert)


class _Eye:
    """One camera with who follows people in it."""

    def __init__(
        self,
        camera: Camera,
        detector: Detector,
        embedder: Any,
        config: IngestConfig,
        settings: LiveSettings,
        news: threading.Event,
    ) -> None:
        self.camera = camera
        source = with_variables(camera.source)
        self.reader = CameraReader(
            replace(camera, source=source), settings, news=news, max_fps=config.max_fps
        )
        self.follower: CameraFollower | None = None
        self._detector, self._embedder, self._config, self._settings = detector, embedder, config, settings
        self._tiles: bool | TilesTrial | None = None
        self._trial_due = 0.0
        self._find: Callable[[VideoFrame], Detections]
        self._searches = 0
        self._size = (0, 0)

    def step(self) -> list[Ended]:
        """Take the newest frame, if there is one."""
        frame = self.reader.take()
        if frame is None:
            return []
        self._choose_search(frame.image, frame.time_s)
        if self.follower is None:
            fps = min(self.reader.fps or FALLBACK_FPS, self._config.max_fps or FALLBACK_FPS)
            self.follower = CameraFollower(
                camera=self.camera,
                detect=lambda frame: self._find(frame),
                config=self._config,
                settings=self._settings,
                embedder=self._embedder,
                fps=max(fps, 1.0),
                session=session_name(self.camera, time.time()),
                source=shown(self.camera.source),
            )
            self.reader.wanted = self.follower.due
        before = self._searches
        ended = self.follower.step(frame)
        self.reader.looked(frame.arrived, searched=self._searches > before)
        return ended

    def idle(self) -> list[Ended]:
        """End tracklets of a camera that shows nothing any more."""
        if self.follower is None or not self.follower.people:
            return []
        silent = self.reader.silent_s > self._config.lost_seconds + 0.5 or self.reader.state == "ended"
        return self.follower.leave() if silent and not self.reader.waiting else []

    def status(self) -> CameraStatus:
        """How the camera is."""
        reader, follower = self.reader, self.follower
        return CameraStatus(
            number=self.camera.number,
            name=self.camera.name,
            source=shown(self.camera.source),
            state=reader.state,
            problem=reader.problem,
            width=reader.size[0],
            height=reader.size[1],
            fps=round(reader.fps, 2),
            followed_fps=round(reader.followed_fps, 2),
            **asdict(reader.counts),
            tiled=self._tiles if isinstance(self._tiles, bool) else None,
            people=follower.people if follower is not None else 0,
            tracklets=follower.ended if follower is not None else 0,
            left_out=dict(follower.dropped) if follower is not None else {},
        )

    def _choose_search(self, image: Image, time_s: float) -> None:
        """As ingest does with frames from all over a video, on the first ones of their size here, a second apart."""
        height, width = image.shape[:2]
        if (width, height) != self._size:
            self._size, self._trial_due = (width, height), time_s
            self._tiles = tiles_or_trial(self._detector, self._config, height=height, width=width)
            self._search(small=self._tiles is True)
        if isinstance(self._tiles, TilesTrial) and time_s >= self._trial_due:
            self._tiles.add(image)
            self._trial_due = time_s + 1.0
            if self._tiles.frames == PROBE_FRAMES:
                self._tiles = self._tiles.pays
                self._search(small=self._tiles)

    def _search(self, *, small: bool) -> None:
        """How frames of this size are searched from now on."""
        width, height = self._size
        find = finder(self._detector, self._config, height=height, width=width, small=small)

        def counted(image: Image) -> Detections:
            self._searches += 1
            return find(image)

        self._find = from_network(counted, self._config)
