"""How long commands take from the shell until they have answered, as medians over rounds in turn.

    python benchmarks/start.py [--rounds 7] [--tracklets 300 20000] [--against CHECKOUT] [--only "gallery search"]

Sides: this package; with `--against` the sources of another checkout, run by the same Python; and the empty program and
`import numpy`, below which no command that computes can come. Each run is a process of its own. Processor time is that
of the process with its children; on a machine that others keep busy it says more than the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import intraclip
from intraclip.embed.embeddings_writer import save_embeddings
from intraclip.gallery.gallery import create_gallery
from intraclip.gallery.records import TrackletRecord
from intraclip.metrics.embeddings import Embeddings
from intraclip.models.zoo import shipped_calibrations

OURS = Path(intraclip.__file__).parents[1]


def make_gallery(folder: Path, count: int) -> Path:
    """A gallery of the shipped network's size, with its calibration."""
    known = json.loads(next(iter(shipped_calibrations())))
    rng = np.random.default_rng(0)
    with create_gallery(
        folder, fingerprint=known["fingerprint"], dimension=256, metric=known["metric"]
    ) as gallery:
        for start in range(0, count, 1_000):
            numbers = range(start, min(start + 1_000, count))
            gallery.add(
                [
                    TrackletRecord(id=f"t{i:06d}", camera=f"cam{i % 8}", camid=i % 8, start_s=i)
                    for i in numbers
                ],
                rng.standard_normal((len(numbers), 256), dtype=np.float32),
                fingerprint=known["fingerprint"],
            )
    return folder


def commands_in(folder: Path, sizes: list[int]) -> dict[str, list[str]]:
    """What is timed, by its name."""
    rng = np.random.default_rng(0)
    pids = rng.integers(1, 101, 1_000)
    file = folder / "found.npz"
    save_embeddings(
        file,
        Embeddings(
            features=(rng.standard_normal((101, 64))[pids] + rng.standard_normal((1_000, 64))).astype(
                np.float32
            ),
            pids=pids,
            camids=rng.integers(1, 7, 1_000),
            is_query=np.arange(1_000) < 200,
        ),
    )
    found = {"--help": ["--help"], "train --help": ["train", "--help"], "models list": ["models", "list"]}
    for size in sizes:
        people = str(make_gallery(folder / f"people{size}", size))
        found[f"gallery search, {size:,}"] = ["gallery", "search", people, "--tracklet", "t000005"]
    found |= {
        "gallery list": ["gallery", "list", people],
        "gallery stats": ["gallery", "stats", people],
        "alerts list": ["alerts", "list", people],
        "score": ["score", str(file)],
    }
    return found


def seconds(arguments: list[str], source: Path) -> tuple[float, float]:
    """Wall and processor seconds of a process."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": str(source)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Time every command on every side in turn, and print medians and ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tracklets", type=int, nargs="+", default=[300, 20_000])
    parser.add_argument("--against", type=Path, help="another checkout of intraclip")
    parser.add_argument("--only", default="", help="commands with this in their name")
    args = parser.parse_args()
    sides = {"ours": OURS} | ({"other": args.against.resolve() / "src"} if args.against else {})
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {args.rounds} rounds")
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            name: ["-m", "intraclip", *words]
            for name, words in commands_in(Path(folder), args.tracklets).items()
            if args.only in name
        }
        floors = {"(an empty program)": ["-c", ""], "(import numpy)": ["-c", "import numpy"]}
        for name, words in {**floors, **commands}.items():
            chosen = {"ours": OURS} if name in floors else sides
            times: dict[str, list[tuple[float, float]]] = {side: [] for side in chosen}
            for _ in range(args.rounds + 1):  # the first fills the caches
                for side, source in chosen.items():
                    times[side].append(seconds(words, source))
            medians = {
                side: [statistics.median(t[i] for t in found[1:]) for i in (0, 1)]
                for side, found in times.items()
            }
            line = f"{name:<24}" + "".join(
                f"  {side} {wall:6.3f} s, processor {cpu:6.3f} s" for side, (wall, cpu) in medians.items()
            )
            if "other" in medians:
                wall, cpu = (a / b for a, b in zip(medians["other"], medians["ours"], strict=True))
                line += f"  other / ours {wall:.2f}, processor {cpu:.2f}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
