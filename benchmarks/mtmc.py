"""Who is who across many cameras of rendered videos: `intraclip link` against plain clustering, same embeddings.

    intraclip data make-videos v16 --people 60 --cameras 16 --seconds 30 --seed 101
    python benchmarks/mtmc.py v16 --model base --out work

The true boxes are followed (detection is not at stake), each true track broken in up to three at random as a tracker
breaks them, and a tracklet embedded on a few of its frames. Compared:

- `link`: nothing given, as a user runs it; times between cameras are learned from the footage;
- `link, no travel`: without them;
- `link, travel`: told the times between cameras of the rendered place, where the videos have them;
- `clustering`: scikit-learn's average linkage on the cosine distance, cut where its mean silhouette is best;
- `threshold`: whatever is nearer than a threshold is one person, at the threshold with the best mean silhouette;
- `best clustering`, `best threshold`: the same, where IDF1 of tracklets is best, with the truth in hand; nobody has
  that.

Printed: HOTA, AssA, MOTA and IDF1 across cameras, of all boxes, and the precision of pairs of tracklets.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.sparse.csgraph import connected_components
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import silhouette_score

from intraclip.data.readers import read_split
from intraclip.embed.extract_job import extract_split
from intraclip.embed.network import load
from intraclip.ingest import IngestConfig, ingest
from intraclip.ingest.camera_tracks import CameraTracks, mot_text, read_tracks
from intraclip.ingest.track_scores import TrackScores, score_tracks
from intraclip.link.boxes import by_camera, person_tracks
from intraclip.link.linking import link
from intraclip.link.scores import score_people
from intraclip.metrics.distance_matrix import distance_matrix

CUTS = 40
PIECES = 10
"""Ids of the pieces of a track are its own times this, and their number."""


def broken(tracks: CameraTracks, rng: random.Random) -> CameraTracks:
    """Every track in one to three pieces."""
    track = tracks.track.copy()
    for one in np.unique(tracks.track).tolist():
        rows = np.flatnonzero(tracks.track == one)
        rows = rows[np.argsort(tracks.frame[rows], kind="stable")]
        ends = sorted(rng.randrange(len(rows)) for _ in range(rng.choice([0, 0, 1, 1, 2])))
        track[rows] = one * PIECES + np.searchsorted(ends, np.arange(len(rows)), side="right")
    return replace(tracks, track=track)


def rivals(
    distances: npt.NDArray[np.float64], pids: npt.NDArray[np.int64]
) -> Iterator[tuple[str, npt.NDArray[np.int64]]]:
    """Groups of plain clustering."""
    levels = np.quantile(distances[np.triu_indices(len(distances), 1)], np.linspace(0, 0.5, CUTS + 1)[1:])
    levels = np.unique(np.concatenate([np.linspace(0.05, 1, CUTS), levels]))
    cuts = [
        AgglomerativeClustering(
            n_clusters=None, metric="precomputed", linkage="average", distance_threshold=level
        ).fit_predict(distances)
        for level in levels.tolist()
    ]
    near = [connected_components(distances < level, directed=False)[1] for level in levels.tolist()]
    for name, ways in (("clustering", cuts), ("threshold", near)):
        yield name, max(ways, key=lambda groups: silhouette(distances, groups))
        yield f"best {name}", max(ways, key=lambda groups: score_people(groups, pids).idf1)


def silhouette(distances: npt.NDArray[np.float64], groups: npt.NDArray[np.int64]) -> float:
    """Mean silhouette; -1 where all are one or all alone."""
    several = 1 < len(np.unique(groups)) < len(groups)
    return float(silhouette_score(distances, groups, metric="precomputed")) if several else -1.0


def compare(
    videos: Path, model: str, out: Path, config: IngestConfig
) -> tuple[dict[str, tuple[TrackScores, float]], str]:
    """By way of grouping: scores across cameras, and precision of pairs; and the rule of `link`."""
    files = sorted(videos.glob("cam*.mp4"))
    truth = read_tracks(videos / "ground_truth")
    pieces = out / "pieces"
    folder = out / "tracklets"
    if not folder.exists():
        pieces.mkdir(parents=True, exist_ok=True)
        rng = random.Random(0)
        for camera, tracks in truth.items():
            (pieces / f"cam{camera}.txt").write_text(mot_text(broken(tracks, rng)))
        ingest(
            files,
            detector=None,
            out=folder,
            settings=config,
            tracks=[pieces / f"{f.stem}.txt" for f in files],
        )
    split = read_split(folder)
    file = out / f"{Path(model).stem}.npz"
    if not file.exists():
        network = load(model, sampling="even")
        extract_split(network.extractor, split, network.settings, file)
    found = {}
    people = link(file, data=split)
    given = people.given
    pids = np.array([int(given.manifest[name]["track"]) // PIECES for name in people.names])
    distances = distance_matrix(given.features, given.features, distance="cosine").astype(np.float64)
    distances = (distances + distances.T) / 2
    np.fill_diagonal(distances, 0)
    ways = {"link": people.person, "link, no travel": link(file, data=split, no_travel=True).person}
    times = videos / "ground_truth" / "travel.toml"
    if times.is_file():
        ways["link, travel"] = link(file, data=split, travel=times).person
    ways |= dict(rivals(distances.clip(min=0), pids))
    for name, groups in ways.items():
        pairs = score_people(groups, pids)
        views = person_tracks(folder, given.manifest, replace(people, person=groups + 1))
        across = score_tracks(truth, by_camera(views)).across
        assert across is not None
        found[name] = across, pairs.precision
    return found, people.rule


def main() -> None:
    """Print a table for every folder of videos and network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("videos", type=Path, nargs="+", help="folders of `intraclip data make-videos`")
    parser.add_argument("--model", nargs="+", default=["base"], help="networks, as for `intraclip extract`")
    parser.add_argument("--out", type=Path, required=True, help="folder for tracklets")
    parser.add_argument(
        "--min-height", type=int, default=IngestConfig().min_height, help="ingest's gate, pixels"
    )
    parser.add_argument(
        "--min-width", type=int, default=IngestConfig().min_width, help="ingest's gate, pixels"
    )
    args = parser.parse_args()
    config = IngestConfig(min_height=args.min_height, min_width=args.min_width)
    for videos in args.videos:
        for model in args.model:
            scores, rule = compare(videos, model, args.out / videos.name, config)
            print(f"\n{videos.name}, {Path(model).stem}; link: {rule}")
            print(f"{'':18}{'HOTA':>8}{'AssA':>8}{'MOTA':>8}{'IDF1':>8}{'pairs':>8}")
            for name, (s, pairs) in scores.items():
                print(
                    f"{name:18}"
                    + "".join(f"{100 * v:8.1f}" for v in (s.hota, s.assa, s.mota, s.idf1, pairs)),
                    flush=True,
                )


if __name__ == "__main__":
    main()
