"""Load on the service: concurrent searches against a server process of its own, on a synthetic gallery.

    python benchmarks/serve.py                      # 50 clients, one minute, 10,000 tracklets of 512 numbers
    python benchmarks/serve.py --seconds 5 --tracklets 2000

Every search is a POST with filters off, reads the 20 best answers, and leaves its line in the audit log, as in real
use. A client sends its next search when it has the answer of the one before, on a connection that stays open.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from intraclip.gallery.gallery import create_gallery, open_gallery
from intraclip.gallery.records import TrackletRecord

SERVER = """
import sys
from intraclip.process import tune
tune()
from intraclip.gallery.gallery import open_gallery
from intraclip.serve.app import create_app
from intraclip.serve.server import listen, run
from intraclip.serve.settings import ServeSettings
settings = ServeSettings(port=0, searches=int(sys.argv[2]))
with open_gallery(sys.argv[1]) as gallery:
    run(create_app(gallery, settings), settings, listen(settings))
"""


def make(folder: Path, tracklets: int, size: int) -> None:
    """People as clusters, four tracklets each, in eight cameras."""
    rng = np.random.default_rng(0)
    with create_gallery(folder, fingerprint="f" * 64, dimension=size, metric="cosine") as gallery:
        for start in range(0, tracklets, 5_000):
            rows = np.arange(start, min(tracklets, start + 5_000))
            people = rng.standard_normal((len(rows) // 4 + 1, size))[np.arange(len(rows)) // 4]
            vectors = (people + 0.5 * rng.standard_normal(people.shape)).astype(np.float32)
            records = [
                TrackletRecord(id=f"t{i:07d}", camera=f"cam{i % 8}", camid=int(i % 8) + 1, start_s=float(i))
                for i in rows
            ]
            gallery.add(records, vectors, fingerprint="f" * 64)
        gallery.build_index()


async def client(
    port: int, tracklets: int, seed: int, until: float, times: list[float], failed: Counter[str]
) -> None:
    """Searches one after the other until the time is over."""
    rng = np.random.default_rng(seed)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while time.perf_counter() < until:
        body = json.dumps({"tracklet": f"t{rng.integers(tracklets):07d}", "k": 20}).encode()
        head = (
            f"POST /api/v1/search HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-Intraclip: 1\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        started = time.perf_counter()
        try:
            writer.write(head.encode() + body)
            status_line, *headers = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            length = next(int(h.partition(":")[2]) for h in headers if h.lower().startswith("content-length"))
            answer = json.loads(await reader.readexactly(length))
            status = status_line.split()[1]
            if status != "200":
                failed[status] += 1
            elif len(answer["matches"]) != 20:
                failed["not 20 answers"] += 1
            else:
                times.append(time.perf_counter() - started)
        except (OSError, asyncio.IncompleteReadError) as error:
            failed[type(error).__name__] += 1
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()


async def load(port: int, clients: int, tracklets: int, seconds: float) -> tuple[list[float], Counter[str]]:
    """Seconds of every search that was answered, and what went wrong how often."""
    times: list[float] = []
    failed: Counter[str] = Counter()
    until = time.perf_counter() + seconds
    await asyncio.gather(*(client(port, tracklets, n, until, times, failed) for n in range(clients)))
    return times, failed


def main() -> None:
    """Make a gallery, start the service, search, stop it, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--tracklets", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--searches", type=int, default=4, help="searches that run at once in the service")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        gallery = Path(folder) / "gallery"
        make(gallery, args.tracklets, args.size)
        command = [sys.executable, "-c", SERVER, str(gallery), str(args.searches)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            port = next(t["port"] for t in map(json.loads, process.stderr) if t["event"] == "listening")
            log: list[str] = []
            asyncio.run(load_and_drain(port, args, process, log))
        with open_gallery(gallery) as opened:
            newest = opened.audit_log(limit=1)
        print(
            f"audit lines {newest[0].number if newest else 0:,}; the service ended with {process.returncode}"
        )


async def load_and_drain(
    port: int, args: argparse.Namespace, process: subprocess.Popen[str], log: list[str]
) -> None:
    """The load; the service's log is read meanwhile, or its pipe would fill up and stop it."""
    assert process.stderr is not None
    drain = asyncio.create_task(asyncio.to_thread(log.extend, process.stderr))
    await load(
        port, 1, args.tracklets, min(3.0, args.seconds)
    )  # the first search reads the gallery into memory
    times, failed = await load(port, args.clients, args.tracklets, args.seconds)
    process.send_signal(signal.SIGTERM)
    await drain
    p50, p95, p99 = (1000 * np.percentile(times, q) for q in (50, 95, 99)) if times else (np.nan,) * 3
    print(
        f"{args.clients} clients, {args.seconds:g} s, {args.tracklets:,} tracklets x {args.size}; "
        f"{args.searches} searches at once: {len(times):,} answered ({len(times) / args.seconds:.0f}/s), "
        f"errors {dict(failed) or 0}; "
        f"p50 {p50:.0f} ms, p95 {p95:.0f} ms, p99 {p99:.0f} ms, longest {1000 * max(times, default=np.nan):.0f} ms"
    )


if __name__ == "__main__":
    main()
