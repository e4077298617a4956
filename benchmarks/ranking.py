"""Seconds, ratios and agreement of rankings, both sides in turn in one process; and memory when streaming.

Run: python benchmarks/ranking.py [--rounds 5] [--torchreid FOLDER] [--gallery 11310 50000 200000] [--stream QUERIES
GALLERY SIZE]

Sides on one matrix of random distances, no two of a row alike (so that nobody's tie rule matters), with the counts
of MARS: 1,980 queries of 626 pids, 6 cameras, 11,310 gallery items; a larger gallery has more strangers, and fewer
queries:

- ours: `score_distances`.
- argsort: rows sorted whole, then boolean masks and cumulative sums, as most public code for numpy does it.
- read: nothing but one pass over the matrix, a product of each row with zeros; `score_distances` needs one to refuse
  what is not finite.
- compare: one comparison of each distance, and the count of what is nearer; `score_distances` makes one for each right
  answer of a query.
- torchreid: `rank_cy.evaluate_cy`, if FOLDER holds its compiled module; its numpy must fit this process's.

Streaming scores random features, queries in the gallery, by `score`, and reports the process's peak of memory above
what the features themselves take. Products take most of it and grow with queries x gallery x size; the line that
extrapolates says so.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from intraclip.metrics.blocks import MAX_BYTES
from intraclip.metrics.embeddings import Embeddings
from intraclip.metrics.given_distances import score_distances
from intraclip.metrics.protocols import PROTOCOLS
from intraclip.metrics.ranking import score
from intraclip.metrics.scores import CMC_LENGTH

PIDS, CAMERAS, OF_QUERY_PIDS, MARS_GALLERY, QUERIES = 626, 6, 8_062, 11_310, 1_980

Ids = dict[str, npt.NDArray[np.int64]]
Found = tuple[npt.NDArray[np.float64], float]


def identities(queries: int, gallery: int, rng: np.random.Generator) -> Ids:
    """As many gallery items of the queries' pids as MARS has; strangers (pid 0) fill the rest."""
    known = rng.integers(1, PIDS + 1, size=OF_QUERY_PIDS)
    return {
        "query_pids": np.arange(queries) % PIDS + 1,
        "query_camids": rng.integers(1, CAMERAS + 1, size=queries),
        "gallery_pids": rng.permutation(np.concatenate((known, np.zeros(gallery - len(known), np.int64)))),
        "gallery_camids": rng.integers(1, CAMERAS + 1, size=gallery),
    }


def ours(distances: npt.NDArray[np.float32], ids: Ids) -> Found:
    """`score_distances`."""
    found = score_distances(distances, **ids)
    return found.cmc, found.mAP


def argsort(distances: npt.NDArray[np.float32], ids: Ids) -> Found:
    """Sort every row, then walk over the queries."""
    order = np.argsort(distances, axis=1)
    curves, precisions = [], []
    for query, ranking in enumerate(order):
        same = ids["gallery_pids"][ranking] == ids["query_pids"][query]
        own = same & (ids["gallery_camids"][ranking] == ids["query_camids"][query])
        right = same[~own]
        if right.any():
            hits = right.cumsum()
            curves.append(np.minimum(hits[:CMC_LENGTH], 1))
            precisions.append((hits / np.arange(1, len(hits) + 1))[right].mean())
    return np.mean(curves, axis=0), float(np.mean(precisions))


def read(distances: npt.NDArray[np.float32]) -> None:
    """One pass over the matrix."""
    zeros = np.zeros(distances.shape[1], np.float32)
    for row in distances:
        np.dot(row, zeros)


def compare_once(distances: npt.NDArray[np.float32]) -> None:
    """One threshold a query."""
    flags = np.empty(distances.shape[1], bool)
    for row in distances:
        np.count_nonzero(np.less_equal(row, 0.5, out=flags))


def torchreid(folder: Path) -> Callable[[npt.NDArray[np.float32], Ids], Found]:
    """The compiled evaluator in `folder`."""
    sys.path.insert(0, str(folder))
    evaluate = importlib.import_module("rank_cy").evaluate_cy

    def side(distances: npt.NDArray[np.float32], ids: Ids) -> Found:
        cmc, mean = evaluate(
            distances,
            ids["query_pids"],
            ids["gallery_pids"],
            ids["query_camids"],
            ids["gallery_camids"],
            CMC_LENGTH,
        )
        return np.asarray(cmc, dtype=np.float64), float(mean)

    return side


def compare(
    gallery: int, sides: dict[str, Callable[[npt.NDArray[np.float32], Ids], Found]], rounds: int
) -> None:
    """Every side once a round; medians, ratios to ours, and the largest difference to ours."""
    queries = max(20, round(QUERIES * min(1.0, MARS_GALLERY / gallery)))
    rng = np.random.default_rng(0)
    ids = identities(queries, gallery, rng)
    levels = np.arange(gallery, dtype=np.float32) / gallery
    distances = rng.permuted(np.tile(levels, (queries, 1)), axis=1)
    seconds: dict[str, list[float]] = {name: [] for name in (*sides, "read", "compare")}
    found: dict[str, Found] = {}
    for _ in range(rounds):
        for name, side in sides.items():
            start = time.process_time()
            found[name] = side(distances, ids)
            seconds[name].append(time.process_time() - start)
        for name, once in (("read", read), ("compare", compare_once)):
            start = time.process_time()
            once(distances)
            seconds[name].append(time.process_time() - start)
    right = (ids["query_pids"][:, None] == ids["gallery_pids"]).sum() / queries
    print(
        f"{queries:,} x {gallery:,} distances, {right:.1f} of a query's pid, {rounds} rounds, processor time"
    )
    for name in sides:
        ratios = [other / mine for other, mine in zip(seconds[name], seconds["ours"], strict=True)]
        cmc = np.abs(found[name][0] - found["ours"][0]).max()
        print(
            f"  {name:10} {statistics.median(seconds[name]):8.3f} s   {statistics.median(ratios):6.1f} x ours   "
            f"CMC differs by {cmc:.1e}, mAP by {abs(found[name][1] - found['ours'][1]):.1e}"
        )
    for name in ("read", "compare"):
        ratios = [mine / other for other, mine in zip(seconds[name], seconds["ours"], strict=True)]
        print(
            f"  {name:10} {statistics.median(seconds[name]):8.4f} s   ours takes {statistics.median(ratios):.1f} "
            "of these"
        )


class Peak:
    """Largest resident memory of this process while the block runs, in bytes, looked at every 5 ms (Linux)."""

    def __enter__(self) -> Peak:
        self.start = self.bytes = self._now()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.005):
            self.bytes = max(self.bytes, self._now())

    @staticmethod
    def _now() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def random_embeddings(queries: int, gallery: int, size: int) -> Embeddings:
    """People that are found most of the time."""
    rng = np.random.default_rng(0)
    total = queries + gallery
    pids = np.concatenate((np.arange(queries), np.arange(gallery) % max(1, gallery // 10)))
    features = rng.standard_normal((total, size), dtype=np.float32)
    features *= 2.0
    # People are nearer to themselves than to others by a few standard deviations of a distance, at any size: some wrong
    # answers stand in between.
    apart = (512 / size) ** 0.25
    for start in range(0, total, 10_000):
        part = slice(start, start + 10_000)
        people = np.unique(pids[part], return_inverse=True)
        own = np.stack([np.random.default_rng(pid).standard_normal(size) for pid in people[0]])
        features[part] += apart * own[people[1]].astype(np.float32)
    return Embeddings(
        features=features,
        pids=pids + 1,
        camids=rng.integers(1, CAMERAS + 1, size=total),
        is_query=np.arange(total) < queries,
    )


def stream(queries: int, gallery: int, size: int, device: str | None) -> None:
    """Score random features without their matrix of distances."""
    embeddings = random_embeddings(queries, gallery, size)
    with Peak() as peak:
        start = time.perf_counter()
        found = score(embeddings, PROTOCOLS["cross-camera"], device=device)
        seconds = time.perf_counter() - start
    print(
        f"streaming {queries:,} x {gallery:,} x {size} on {device or 'numpy'}: {seconds:.1f} s, "
        f"{(peak.bytes - peak.start) / 2**20:.0f} MiB above the start (blocks may take {MAX_BYTES / 2**20:.0f}), "
        f"features {embeddings.features.nbytes / 2**20:.0f} MiB, "
        f"the matrix would take {4 * queries * gallery / 2**20:.0f} MiB; "
        f"rank-1 {found.rank(1):.4f}, mAP {found.mAP:.4f}"
    )
    whole = seconds * (10_000 / queries) * (1_000_000 / gallery)
    print(f"  extrapolated, not measured: 10,000 x 1,000,000 x {size} in {whole / 60:.1f} min")


def main() -> None:
    """Compare on growing galleries, then stream."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--torchreid", type=Path, help="folder with its compiled rank_cy module")
    parser.add_argument("--gallery", type=int, nargs="*", default=[11_310, 50_000, 200_000])
    parser.add_argument("--stream", type=int, nargs=3, default=[1_000, 100_000, 512])
    parser.add_argument("--device", help="torch device for streaming; numpy without it")
    arguments = parser.parse_args()
    sides = {"ours": ours, "argsort": argsort}
    if arguments.torchreid:
        sides["torchreid"] = torchreid(arguments.torchreid)
    for gallery in arguments.gallery:
        compare(gallery, sides, arguments.rounds)
    stream(*arguments.stream, arguments.device)


if __name__ == "__main__":
    main()
