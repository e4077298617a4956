"""What the gallery in a folder costs: adding, opening, exact and indexed searches with filters. Prints a table.

    python benchmarks/gallery.py                 100,000 and 1,000,000 tracklets; several minutes, 5 GB of disk
    python benchmarks/gallery.py --sizes 100000

The vectors are clustered as those of people are: each identity has ten tracklets in eight cameras, all vectors lie
near a subspace whose directions matter less and less, and a tracklet strays from its identity by `--spread` of what
identities differ by. Random vectors have no near neighbours and say nothing about either speed or recall.

CPU time is that of the whole process. On a machine that others keep busy it tells more than the clock; with
OMP_NUM_THREADS=1 it is about what the clock would show on an idle core.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from intraclip.gallery.gallery import Gallery, create_gallery, open_gallery
from intraclip.gallery.records import Filters, Pictures, TrackletRecord

SIZE = 512
DIRECTIONS = 128
PER_PERSON = 10
CAMERAS = 8
BATCH = 1_000
MODEL = "benchmark"
K = 10

Vectors = npt.NDArray[np.float32]


class People:
    """Makes the vectors of any range of tracklets, always the same ones."""

    def __init__(self, spread: float) -> None:
        rng = np.random.default_rng(0)
        scale = np.exp(-np.arange(DIRECTIONS) / 48).astype(np.float32)
        self.basis = (
            np.linalg.qr(rng.standard_normal((SIZE, DIRECTIONS)))[0].T.astype(np.float32) * scale[:, None]
        )
        self.spread = spread

    def vectors(self, block: int) -> Vectors:
        """Those of block number `block`, ``[BATCH, 512]``."""
        rng = np.random.default_rng([1, block])
        people = rng.standard_normal((BATCH // PER_PERSON, DIRECTIONS), dtype=np.float32)
        stray = rng.standard_normal((BATCH, DIRECTIONS), dtype=np.float32) * self.spread
        noise = rng.standard_normal((BATCH, SIZE), dtype=np.float32) * 0.02
        return (np.repeat(people, PER_PERSON, axis=0) + stray) @ self.basis + noise

    def queries(self, count: int, size: int) -> Vectors:
        """New tracklets of people who are in the gallery."""
        rng = np.random.default_rng(2)
        found = []
        for number in rng.integers(0, size // PER_PERSON, count):
            block, person = divmod(int(number), BATCH // PER_PERSON)
            people = np.random.default_rng([1, block]).standard_normal(
                (BATCH // PER_PERSON, DIRECTIONS), dtype=np.float32
            )
            stray = rng.standard_normal(DIRECTIONS).astype(np.float32) * self.spread
            noise = rng.standard_normal(SIZE).astype(np.float32) * 0.02
            found.append((people[person] + stray) @ self.basis + noise)
        return np.stack(found)


def records(block: int) -> list[TrackletRecord]:
    """Those of block number `block`."""
    return [
        TrackletRecord(
            id=f"t{i:08d}",
            camera=f"cam{i % CAMERAS}",
            camid=i % CAMERAS,
            start_s=i % 86_400,
            end_s=i % 86_400 + 8,
            num_frames=60,
            source=f"video{i % 40}.mp4",
        )
        for i in range(block * BATCH, (block + 1) * BATCH)
    ]


def filters_of(
    number: int,
) -> dict[str, tuple[Filters, Callable[[npt.NDArray[np.int64]], npt.NDArray[np.bool_]]]]:
    """Filters of a query, with what they mean for the tracklets' numbers."""
    own = number % CAMERAS
    return {
        "no filter": (Filters(), lambda i: np.ones(len(i), np.bool_)),
        "own camera excluded": (
            Filters(exclude_cameras=frozenset({f"cam{own}"})),
            lambda i: i % CAMERAS != own,
        ),
        "one camera, a third of the day": (
            Filters(cameras=frozenset({f"cam{own}"}), from_s=20_000, to_s=48_800),
            lambda i: (i % CAMERAS == own) & (i % 86_400 + 8 >= 20_000) & (i % 86_400 <= 48_800),
        ),
        "one hour": (
            Filters(from_s=20_000, to_s=23_600),
            lambda i: (i % 86_400 + 8 >= 20_000) & (i % 86_400 <= 23_600),
        ),
    }


def fill(folder: Path, people: People, size: int, metric: str, jpeg: int) -> None:
    """Make a gallery and print what adding cost."""
    shown = [Pictures(strip=os.urandom(jpeg)) if jpeg else Pictures()] * BATCH
    spent = cpu = 0.0
    with create_gallery(folder, fingerprint=MODEL, dimension=SIZE, metric=metric) as gallery:
        for block in range(size // BATCH):
            batch = records(block), people.vectors(block)
            start, start_cpu = time.perf_counter(), time.process_time()
            gallery.add(*batch, fingerprint=MODEL, pictures=shown)
            spent += time.perf_counter() - start
            cpu += time.process_time() - start_cpu
    what = f"with pictures of {jpeg:,} bytes" if jpeg else "without pictures"
    print(f"  {size:,} inserts in transactions of {BATCH:,}, {what}: {spent:.1f} s (CPU {cpu:.1f} s)")


def truth(people: People, queries: Vectors, size: int, metric: str) -> dict[str, list[list[int]]]:
    """The K nearest by brute force, by name of the filter."""
    best: dict[str, list[list[tuple[float, int]]]] = {name: [[] for _ in queries] for name in filters_of(0)}
    unit = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    for block in range(size // BATCH):
        vectors = people.vectors(block)
        if metric == "cosine":
            distances = 1 - unit @ (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).T
        else:
            distances = np.einsum("nd,nd->n", vectors, vectors) - 2 * queries @ vectors.T
        numbers = np.arange(block * BATCH, (block + 1) * BATCH)
        for q in range(len(queries)):
            for name, (_, passes) in filters_of(q).items():
                some = np.where(passes(numbers), distances[q], np.inf)
                for i in np.argpartition(some, K)[:K]:
                    if np.isfinite(some[i]):
                        best[name][q].append((float(some[i]), int(numbers[i])))
                best[name][q] = sorted(best[name][q])[:K]
    return {name: [[n for _, n in found] for found in lists] for name, lists in best.items()}


def search(gallery: Gallery, queries: Vectors, expected: dict[str, list[list[int]]]) -> None:
    """Search with every filter and print times and recall."""
    for name in filters_of(0):
        times, cpu, hits, wanted = [], [], 0, 0
        for q, query in enumerate(queries):
            filters = filters_of(q)[name][0]
            start, start_cpu = time.perf_counter(), time.process_time()
            found = gallery.search(query, fingerprint=MODEL, k=K, filters=filters)
            times.append(1000 * (time.perf_counter() - start))
            cpu.append(1000 * (time.process_time() - start_cpu))
            right = set(expected[name][q])
            hits += len(right & {int(m.record.id[1:]) for m in found.matches})
            wanted += len(right)
        p50, p95, worst = np.percentile(times, [50, 95, 100])
        recall = f"recall@{K} {hits / wanted:.4f}" if wanted else "nothing passes: too few tracklets"
        print(
            f"  {name:<32} {'exact' if found.exact else 'index':<6} median {p50:6.1f} ms  p95 {p95:6.1f} ms  "
            f"worst {worst:6.1f} ms  CPU p95 {np.percentile(cpu, 95):6.1f} ms  {recall}"
        )


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--metric", choices=["euclidean", "cosine"], default="cosine")
    parser.add_argument("--spread", type=float, default=0.6)
    parser.add_argument("--pictures", type=int, default=0, help="bytes of pictures a tracklet")
    parser.add_argument(
        "--folder", type=Path, help="where to put the galleries; a temporary folder by default"
    )
    args = parser.parse_args()
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    people = People(args.spread)
    for size in args.sizes:
        print(f"{size:,} x {SIZE}, {args.metric}, spread {args.spread}, {args.queries} queries:")
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            path = Path(folder) / "gallery"
            fill(path, people, size, args.metric, args.pictures)
            queries = people.queries(args.queries, size)
            expected = truth(people, queries, size, args.metric)
            start, start_cpu = time.perf_counter(), time.process_time()
            with open_gallery(path) as gallery:
                gallery.search(queries[0], fingerprint=MODEL)
                spent, cpu = time.perf_counter() - start, time.process_time() - start_cpu
                print(f"  open and answer the first search: {spent:.2f} s (CPU {cpu:.2f} s)")
                start = time.perf_counter()
                made = gallery.build_index()
                print(f"  index ({made}): {time.perf_counter() - start:.1f} s")
                gallery.search(queries[0], fingerprint=MODEL)
                search(gallery, queries, expected)
                start = time.perf_counter()
                gallery.delete(Filters(ids=frozenset(f"t{i:08d}" for i in range(0, 100))))
                print(f"  delete 100: {time.perf_counter() - start:.2f} s")
                print(f"  on disk: {(gallery.stats().size_bytes or 0) / 1e6:,.0f} MB")
            start = time.perf_counter()
            with open_gallery(path) as gallery:
                gallery.search(queries[0], fingerprint=MODEL)
                print(f"  open with the index: {time.perf_counter() - start:.2f} s")


if __name__ == "__main__":
    main()
