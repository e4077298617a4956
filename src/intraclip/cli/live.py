"""`intraclip live`."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from intraclip.cli.common import command, parse, plain, print_json, say
from intraclip.cli.gallery_flags import (
    InGallery,
    Model,
    age,
    learned_in_words,
    login,
    note_model,
    open_model_for,
)
from intraclip.cli.serve import Listening, greet
from intraclip.core.extras import require_extra
from intraclip.core.settings import bounded
from intraclip.core.streams import check_source, has_password, shown, with_variables
from intraclip.errors import ConfigError
from intraclip.ingest import IngestConfig
from intraclip.live.settings import LiveSettings

if TYPE_CHECKING:
    from intraclip.embed.network import Network
    from intraclip.gallery.gallery import Gallery
    from intraclip.live.alerts import Alert
    from intraclip.live.live import Live
    from intraclip.live.senders import Channel
    from intraclip.live.status import LiveStatus

MAX_FPS = 10.0
"""Trackers gain nothing from more, and the machine does."""

SECRET = "INTRACLIP_WEBHOOK_SECRET"
PASSWORD = "INTRACLIP_MQTT_PASSWORD"


@dataclass(frozen=True, kw_only=True)
class LiveArgs(InGallery, Listening):
    """Watch cameras: people enter the gallery as they leave the picture, and the watch-list is looked for.

    The gallery is made if it is not there. It runs until Ctrl-C or SIGTERM. A camera that is lost is opened again; a
    machine that is too slow drops frames and says how many. `intraclip alerts watch` says who is looked for. Nothing
    leaves this machine, unless --webhook or --mqtt sends alerts elsewhere.
    """

    camera: tuple[str, ...]
    """Number or name, and where it is: 1=rtsp://host/stream, 2=/dev/video0, lobby=clip.mp4, 4=https://host/live.m3u8.
    A password comes from the environment: rtsp://me:${CAMERA_PASSWORD}@host/stream."""
    model: Path | None = None
    """Network, as `intraclip gallery add` takes it; without it: the one that made the gallery, else the strongest that
    is here by name. Its head must read the mean of frame vectors, as that of `base` does."""
    engine: str | None = None
    """What runs the network: torch, onnxruntime, openvino, or auto, the default: the fastest exact one that is
    installed."""
    detector: Path | None = None
    """Person detector, as `intraclip ingest` takes it; without it, one that is here."""
    loop: bool = False
    """Video files begin again when they are over."""
    speed: float = 1.0
    """Video files play so many times as fast as the clock; 0 for as fast as frames are looked at, with none dropped."""
    keep: str | None = None
    """Delete what is older than this, every hour: 30d, 12h, 4w. Who is on the watch-list is kept."""
    part_seconds: float = 20.0
    """Somebody who stays longer enters the gallery in parts of this length; 0 for never."""
    alert_gap: float = 60.0
    """Least time between two alerts about one person in one camera, in seconds."""
    webhook: str | None = None
    """Address that alerts are posted to, signed with the secret of --webhook-secret-file."""
    webhook_secret_file: Path | None = None
    """File with the webhook's secret, 16 characters or more; else the variable INTRACLIP_WEBHOOK_SECRET."""
    webhook_vector: bool = False
    """Send the tracklet's vector along."""
    mqtt: str | None = None
    """Broker and topic that alerts are published to, with the vector: mqtt://host:1883/intraclip/alerts, or mqtts://."""
    mqtt_password_file: Path | None = None
    """File with the broker's password; else the variable INTRACLIP_MQTT_PASSWORD."""
    serve: bool = False
    """Show cameras, counts, alerts and the gallery on a page in the browser, on this machine."""
    every: float = bounded(60.0, 0)
    """Seconds between two lines about how it goes; 0 for none."""
    json: bool = False
    """Print alerts and, at the end, all counts as JSON, one object a line."""
    settings: Annotated[IngestConfig, tyro.conf.arg(name="")] = field(
        default_factory=lambda: IngestConfig(max_fps=MAX_FPS, camera_motion=False, quality="balanced")
    )


def parsed(argv: Sequence[str]) -> LiveArgs:
    """The flags of a command line, which hold no password."""
    for word in argv:
        if has_password(word):
            source = re.sub(r"^.*?([A-Za-z][A-Za-z0-9+.-]*://)", r"\1", word)
            raise ConfigError(
                f"the address {shown(source)} holds a password, which every program on this machine can read "
                "in the list of processes; put it into a variable of the environment and write "
                "'rtsp://USER:${NAME}@HOST/...', in single quotes"
            )
    return parse(LiveArgs, argv, command="live")


def main(args: LiveArgs) -> int:
    """Run the command."""
    from intraclip.gallery.gallery import opened_or_created
    from intraclip.ingest.detector import found_detector, open_detector
    from intraclip.live.cameras import parse_cameras
    from intraclip.live.live import Live

    settings = LiveSettings(
        loop=args.loop,
        speed=args.speed,
        longest_s=args.part_seconds,
        alert_gap_s=args.alert_gap,
        keep_s=0.0 if args.keep is None else age(args.keep, flag="--keep"),
    )
    cameras = parse_cameras(args.camera)
    for camera in cameras:
        check_source(with_variables(camera.source))
    channels = _channels(args)
    if args.serve:
        for module in ("fastapi", "uvicorn", "python_multipart", "prometheus_client", "jinja2"):
            require_extra(module, extra="serve", purpose="the page")
    path = args.detector
    if path is None:
        path, what = found_detector()
        say(f"detector: {what}; another one: --detector")
    detector = open_detector(path, args.settings, at_once=len(cameras))
    device = None if args.settings.device == "auto" else args.settings.device
    # Cameras do not wait: the network of a run may read its weights once more, and run twice as fast from then on.
    flags = Model(model=args.model, engine=args.engine or "auto", device=device)
    network = open_model_for(flags, args.gallery)
    with opened_or_created(
        args.gallery,
        fingerprint=network.fingerprint,
        dimension=network.embedding_size,
        model=network.name,
    ) as gallery:
        note_model(replace(flags, engine=args.engine), gallery)
        live = Live(
            gallery, network, detector, cameras, args.settings, settings, channels=channels, actor=login()
        )
        live.on_alert = partial(_tell_alert, args)
        if learned := learned_in_words(gallery):
            say(learned)
        for camera in cameras:
            say(f"{camera.name}: {shown(camera.source)}")
        status = _serve(args, live, gallery, network) if args.serve else _watch(args, live)
    if args.json:
        print_json(asdict(status))
    else:
        say(_in_words(status))
    return 0


def _channels(args: LiveArgs) -> list[Channel]:
    from intraclip.live.mqtt import Mqtt
    from intraclip.live.webhook import Webhook

    channels: list[Channel] = []
    if args.webhook is not None:
        secret = _secret(args.webhook_secret_file, SECRET)
        if not secret:
            raise ConfigError(
                f"--webhook: alerts are signed; name a file with a secret, --webhook-secret-file, or set {SECRET}"
            )
        channels.append(Webhook(args.webhook, secret, with_vector=args.webhook_vector))
    if args.mqtt is not None:
        channels.append(Mqtt(args.mqtt, password=_secret(args.mqtt_password_file, PASSWORD)))
    return channels


def _secret(path: Path | None, variable: str) -> str:
    if path is None:
        return os.environ.get(variable, "")
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the secret in {path} cannot be read: {getattr(error, 'strerror', error)}"
        ) from None


def _watch(args: LiveArgs, live: Live) -> LiveStatus:
    """Until the cameras are over, or somebody says so."""
    told = threading.Event()

    def stop(*_: object) -> None:
        told.set()

    kept = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with live:
            _tell_now_and_then(args, live, told)
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
    return live.status()


def _tell_now_and_then(args: LiveArgs, live: Live, told: threading.Event) -> None:
    due = time.monotonic() + args.every
    while not told.wait(0.2) and not live.wait(0.0):
        if args.every and time.monotonic() >= due:
            due += args.every
            say(_in_words(live.status()))


def _serve(args: LiveArgs, live: Live, gallery: Gallery, network: Network) -> LiveStatus:
    from intraclip.serve.app import create_app
    from intraclip.serve.server import listen, run

    settings = args.serve_settings()
    with listen(settings) as listening:
        settings = replace(settings, port=listening.getsockname()[1])
        app = create_app(gallery, settings, embedder=network, live=live)
        greet(args.gallery, settings, gallery.stats().tracklets, view="?view=live")
        with live:
            over = threading.Event()
            teller = threading.Thread(target=_tell_now_and_then, args=(args, live, over), daemon=True)
            teller.start()
            try:
                run(app, settings, listening)
            finally:
                over.set()
    return live.status()


def _tell_alert(args: LiveArgs, alert: Alert) -> None:
    if args.json:
        print(json.dumps({"alert": asdict(alert)}), flush=True)
        return
    who = alert.name or f"number {alert.watched}"
    answer = command("alerts", "confirm", args.gallery, alert.id.lstrip("0"))
    told = f"{who} in {alert.camera}, tracklet {alert.tracklet}, {100 * alert.probability:.0f} % likely"
    print(plain(f"alert: {told}; {answer} (or reject)"), flush=True)


def _in_words(status: LiveStatus) -> str:
    parts = [
        f"{status.seconds:,.0f} s: {status.tracklets:,} tracklets, {status.alerts:,} alerts"
        + (f", {status.deleted:,} deleted by --keep" if status.deleted else "")
    ]
    for c in status.cameras:
        words = f"{c.name} {c.state}, {c.followed_fps:.1f} of {c.fps:.1f} frames/s followed"
        if c.searched:
            words += f", {100 * c.searched / (c.searched + c.carried):.0f} % of them searched"
        words += f", {c.people} people"
        if c.dropped:
            words += f", {c.dropped:,} frames dropped as the machine was too slow"
        if c.problem:
            words += f" ({c.problem})"
        parts.append(words)
    return "\n  ".join([*parts, *status.problems])
