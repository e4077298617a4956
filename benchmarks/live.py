"""Live cameras: how late alerts are, whether memory stays flat, and whether the false-match rate is kept.

    intraclip data make-videos videos --people 24 --seconds 60
    python benchmarks/live.py watch videos/cam*.mp4 --detector yolox_nano --seconds 3600 --out soak.csv
    python tools/make_base.py render --folder others --sets 1 --people 90 --seed 3000
    python benchmarks/live.py crowd others/set0

`watch` plays the videos as cameras that loop, at the speed of the clock or `--speed` times as fast, with everybody who
was seen in the first `--settle` seconds on the watch-list. What is printed:

- latency: from the last frame that shows somebody to the tracklet in the gallery, compared with the watch-list, with
  its alert raised where it passes: median, 95th percentile and maximum. The tracker waits `lost_seconds` (1 s) before
  it believes that somebody has left; that second is part of it. `sent` is from there to a receiver of the webhook.
- memory: resident set of the process every second (`--out` writes all samples as they come), and what a straight
  line through the second half of them gains an hour. With `--cut 30` a camera is cut off now and then, and comes back.
- frames: how many came; were searched; had tracks carried over them, as nobody could have moved far; and were dropped
  as the machine was too slow, by camera. And the processor time of the whole process, for each second.

`crowd` embeds the tracklets of rendered people whom the network was not trained on. Everybody is put on the watch-list
once with one tracklet, and compared with all strangers in other cameras. What is printed: comparisons, those that pass,
their share beside the rate that was asked for, and the share of the persons' own tracklets that pass.
"""
# ruff: noqa: E402 - `tune` must run before torch is imported

from __future__ import annotations

import argparse
import csv
import http.server
import json
import multiprocessing
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from intraclip.process import tune

tune(lasting=True)  # before torch is imported, as the command line does

from intraclip.embed.network import load
from intraclip.gallery.gallery import Gallery, create_gallery
from intraclip.gallery.records import TrackletRecord
from intraclip.ingest.config import IngestConfig
from intraclip.ingest.detector import open_detector
from intraclip.live.cameras import Camera
from intraclip.live.live import Live
from intraclip.live.settings import LiveSettings
from intraclip.live.watchlist import Matcher, WatchList
from intraclip.live.webhook import Webhook

SECRET = "for measuring only, nobody keeps it"

COUNTS = ("searched", "carried", "dropped")
"""What became of frames; see `CameraStatus`."""


class Received(http.server.BaseHTTPRequestHandler):
    """Takes alerts."""

    def do_POST(self) -> None:
        """Answer that it arrived."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def receive(told: Connection) -> None:
    """Serve `Received` in a process of its own, whose memory does not count; its port is told."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Received)
    told.send(server.server_port)
    server.serve_forever()


def memory_mib() -> float:
    """Resident set of this process."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    except OSError:  # elsewhere than on Linux: the largest so far
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def new_gallery(folder: Path, network_name: str, engine: str | None) -> tuple[Gallery, object]:
    """An empty gallery of a network, and the network."""
    network = load(network_name, engine=engine)
    gallery = create_gallery(
        folder, fingerprint=network.fingerprint, dimension=network.embedding_size, model=network.name
    )
    return gallery, network


def watch(args: argparse.Namespace) -> None:
    """Play videos as cameras, and measure."""
    with tempfile.TemporaryDirectory() as folder:
        clips = []
        for number, video in enumerate(args.videos, start=1):
            clips.append(Path(folder) / f"{number}{video.suffix}")
            shutil.copy(video, clips[-1])
        gallery, network = new_gallery(Path(folder) / "people", args.model, args.engine)
        config = IngestConfig(
            max_fps=args.max_fps, camera_motion=False, tiling=args.tiling, quality=args.quality,
            min_height=args.min_height, min_width=args.min_width,
        )  # fmt: skip
        spawn = multiprocessing.get_context("spawn")
        port, told = spawn.Pipe(duplex=False)
        receiver = spawn.Process(target=receive, args=(told,), daemon=True)
        receiver.start()
        live = Live(
            gallery,
            network,  # type: ignore[arg-type]
            open_detector(args.detector, config, at_once=len(clips)),
            [Camera(number=n, source=str(clip), name=f"cam{n}") for n, clip in enumerate(clips, start=1)],
            config,
            LiveSettings(
                loop=True, speed=args.speed, alert_gap_s=0.0, first_wait_s=0.5, look_s=args.look_seconds
            ),
            channels=[Webhook(f"http://127.0.0.1:{port.recv()}/", SECRET)],
        )
        began = time.process_time()
        samples = run(args, live, gallery, clips)
        args.processor_s = time.process_time() - began
        sent = [seconds for sender in live._senders for seconds in sender.latencies]
        receiver.terminate()
        gallery.close()
    tell(args, live, samples, sent)


def run(
    args: argparse.Namespace, live: Live, gallery: Gallery, clips: Sequence[Path]
) -> list[tuple[float, ...]]:
    """Watch for as long as is asked; samples of time, memory, tracklets, alerts, and frames by `COUNTS`."""
    samples: list[tuple[float, ...]] = []
    begun = time.monotonic()
    settled, cut_at, away = False, begun + args.cut, None
    with ExitStack() as stack:
        stack.enter_context(live)
        write = None
        if args.out is not None:
            # Line by line: what was measured is there if the soak is ended early.
            file = stack.enter_context(args.out.open("w", newline="", buffering=1))
            write = csv.writer(file)
            write.writerow(("seconds", "mib", "tracklets", "alerts", *COUNTS))
        while (now := time.monotonic() - begun) < args.seconds:
            time.sleep(min(1.0, args.seconds / 20))
            status = live.status()
            if not settled and now > args.settle:
                settled = True
                known = [r.id for r in gallery.all_records()][: args.watched]
                for tracklet in known:
                    WatchList(gallery).add([tracklet], rate=args.rate)
                live.latencies.clear()
            if args.cut and time.monotonic() > cut_at:
                # A file that is gone when it would begin anew is a camera that is lost.
                if away is None:
                    away = clips[int(now) % len(clips)]
                    away.rename(away.with_suffix(".away"))
                    cut_at += args.cut / 2
                else:
                    away.with_suffix(".away").rename(away)
                    away, cut_at = None, cut_at + args.cut
            samples.append(
                (
                    round(now, 1), round(memory_mib(), 1), status.tracklets, status.alerts,
                    *(sum(getattr(c, name) for c in status.cameras) for name in COUNTS),
                )
            )  # fmt: skip
            if write is not None:
                write.writerow(samples[-1])
            if status.problems:
                print(f"{now:.0f} s: {'; '.join(status.problems)}", flush=True)
    return samples


def tell(args: argparse.Namespace, live: Live, samples: list[tuple[float, ...]], sent: list[float]) -> None:
    """Print what came out."""
    status = live.status()
    print(
        f"{len(args.videos)} cameras, {args.seconds:g} s at {args.speed:g} times the clock, {os.cpu_count()} cores"
    )
    for camera in status.cameras:
        print(
            f"  {camera.name}: {camera.width} x {camera.height}, {camera.received:,} frames came, {camera.searched:,} "
            f"searched, {camera.carried:,} carried, {camera.dropped:,} dropped "
            f"({100 * camera.dropped / max(camera.received, 1):.1f} %), "
            f"{camera.skipped:,} left out by --max-fps; opened "
            f"{camera.connections} times, tiles {camera.tiled}; {camera.tracklets:,} tracklets, left "
            f"out {camera.left_out}"
        )
    print(f"{status.tracklets:,} tracklets, {status.alerts:,} alerts")
    print(f"processor: {args.processor_s / args.seconds:.2f} s a second; load {os.getloadavg()[0]:.1f}")
    for name, found in (("latency", list(live.latencies)), ("sent", sent)):
        if found:
            p50, p95 = np.percentile(found, [50, 95])
            print(
                f"{name}: median {p50:.2f} s, p95 {p95:.2f} s, maximum {max(found):.2f} s ({len(found)} times)"
            )
    half = np.array(samples[len(samples) // 2 :])
    slope = np.polyfit(half[:, 0], half[:, 1], 1)[0] * 3600 if len(half) > 1 else 0.0
    memory = [row[1] for row in samples]
    print(
        f"memory: {memory[0]:.0f} MiB at first, {memory[len(memory) // 2]:.0f} half way, {memory[-1]:.0f} at the end, "
        f"{max(memory):.0f} at most; the second half grows by {slope:.1f} MiB an hour"
    )


def crowd(args: argparse.Namespace) -> None:
    """Compare rendered people with one another."""
    frames, pids, camids, tracklets = (
        np.load(args.folder / f"{name}.npy") for name in ("frames", "pids", "camids", "tracklets")
    )
    rows: dict[tuple[int, int, int], list[int]] = {}
    for row, (pid, camid, tracklet) in enumerate(zip(pids, camids, tracklets, strict=True)):
        rows.setdefault((int(pid), int(camid), int(tracklet)), []).append(row)
    with tempfile.TemporaryDirectory() as folder:
        gallery, network = new_gallery(Path(folder) / "people", args.model, args.engine)
        keys = sorted(rows)
        clips = [frames[rows[key]] for key in keys]
        embeddings = network.embed(clips)  # type: ignore[attr-defined]
        names = ["_".join(map(str, key)) for key in keys]
        gallery.add(
            [
                TrackletRecord(id=n, camera=f"cam{key[1]}", camid=key[1])
                for n, key in zip(names, keys, strict=True)
            ],
            embeddings.features,
            fingerprint=network.fingerprint,  # type: ignore[attr-defined]
        )
        people, first = WatchList(gallery), {}
        for name, key in zip(names, keys, strict=True):
            if key[0] not in first:
                first[key[0]] = (people.add([name], rate=args.rate, name=str(key[0])), key)
        matcher = Matcher(gallery, every_s=1e9)
        compared = passed = own = own_passed = 0
        for name, key, vector in zip(names, keys, embeddings.features, strict=True):
            hits = {hit.watched.name for hit in matcher.match(name, vector)}
            for pid, (_, watched) in first.items():
                if watched[1] == key[1] or watched == key:
                    continue  # a calibration speaks of two cameras
                if pid == key[0]:
                    own, own_passed = own + 1, own_passed + (str(pid) in hits)
                else:
                    compared, passed = compared + 1, passed + (str(pid) in hits)
        gallery.close()
    print(
        f"{len(first)} people on the watch-list by one tracklet each, {len(keys)} tracklets, rate {args.rate:g}"
    )
    print(
        f"strangers: {compared:,} comparisons, {passed} pass: {passed / max(compared, 1):.2e}, "
        f"{passed / max(compared, 1) / args.rate:.2f} times the rate"
    )
    print(f"the persons' own: {own_passed} of {own} pass ({100 * own_passed / max(own, 1):.0f} %)")
    print(
        json.dumps(
            {"compared": compared, "passed": passed, "rate": args.rate, "own": own, "own_passed": own_passed}
        )
    )


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    watching = commands.add_parser("watch")
    watching.add_argument("videos", type=Path, nargs="+")
    watching.add_argument("--detector", type=Path, required=True)
    watching.add_argument("--seconds", type=float, default=3600)
    watching.add_argument("--settle", type=float, default=30, help="then the watch-list is filled")
    watching.add_argument("--watched", type=int, default=20, help="people on the watch-list")
    watching.add_argument("--rate", type=float, default=0.001)
    watching.add_argument("--speed", type=float, default=1.0)
    watching.add_argument("--max-fps", type=float, default=10.0)
    watching.add_argument("--quality", default="balanced", choices=("fast", "balanced", "full"))
    watching.add_argument("--tiling", default="auto", choices=("auto", "on", "off"))
    watching.add_argument("--min-height", type=int, default=48)
    watching.add_argument("--min-width", type=int, default=16)
    watching.add_argument("--look-seconds", type=float, default=0.4)
    watching.add_argument("--cut", type=float, default=0, help="take a camera away every so many seconds")
    watching.add_argument("--out", type=Path)
    watching.set_defaults(run=watch)
    crowding = commands.add_parser("crowd")
    crowding.add_argument("folder", type=Path)
    crowding.add_argument("--rate", type=float, default=0.001)
    crowding.set_defaults(run=crowd)
    for one in (watching, crowding):
        one.add_argument("--model", default="base")
        one.add_argument("--engine", default="auto")
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
