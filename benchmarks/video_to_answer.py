"""From video in to answer out, on the benchmark's videos: detection, tracking, and who is found again.

    intraclip data make-videos videos --people 24 --seconds 30 --seed 7
    python benchmarks/video_to_answer.py videos --detector yolox.onnx --run runs/model-1 --encoder omz.toml --out work

The chain is `intraclip ingest` with the detector, then embeddings of its tracklets. Beside it runs an upper bound: the
same with the true boxes and ids instead of detector and tracker. What is printed:

- detection: precision and recall of the detector at ingest's `track_score`, and average precision (area under the
  precision-recall curve), at IoU 0.5, on every n-th frame. People of whom less than `--least-visible` is seen are
  neither missed nor wrongly found.
- tracking: HOTA, MOTA, IDF1 and identity switches of the library `trackers`, on all frames and all people, hidden
  ones included, as in MOTChallenge.
- tracklets: each gets the pid of the true track that most of its boxes lie on (IoU 0.5); without one on half of its
  boxes it is nobody's (pid 0: searched, never right). Mixed: less than 80 % of its matched boxes are one person's.
- answers: query is the first tracklet of a person in a camera, gallery are all tracklets of the other cameras.
  `rank-1` counts the queries there are; `of all` counts every sighting of the truth whose person is also seen by
  another camera, and takes those without a tracklet, or without a right answer in the gallery, as wrong.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from intraclip.data.readers import read_split
from intraclip.embed.extract import collect
from intraclip.embed.network import is_ours, load
from intraclip.ingest import IngestConfig, ingest
from intraclip.ingest.detections import box_iou
from intraclip.ingest.detector import Detector, open_detector
from intraclip.ingest.follow import choose_tiles
from intraclip.ingest.mot import MotFile, read_mot
from intraclip.ingest.search import finder
from intraclip.ingest.sources import open_source
from intraclip.metrics.distance_matrix import distance_matrix
from intraclip.metrics.given_distances import score_distances

IOU = 0.5
PURE = 0.8
NOBODY = 0

Boxes = npt.NDArray[np.float32]
Key = tuple[int, int]
"""A person and a camera."""


# -- detection ---------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Found:
    """Detections of one camera that count, and how many people there were.

    Attributes:
        scores: of every detection that counts.
        right: whether it is a person nobody else was taken for.
        people: who could be found.
    """

    scores: list[float]
    right: list[bool]
    people: int

    def at(self, score: float) -> tuple[float, float]:
        """Precision and recall of the detections of at least this score."""
        chosen = [right for right, s in zip(self.right, self.scores, strict=True) if s >= score]
        return sum(chosen) / max(len(chosen), 1), sum(chosen) / max(self.people, 1)

    def average_precision(self) -> float:
        """Area under the precision-recall curve, precision being the best at that recall or above."""
        order = np.argsort(-np.array(self.scores), kind="stable")
        hits = np.cumsum(np.array(self.right, dtype=np.float64)[order])
        precision = hits / np.arange(1, len(hits) + 1)
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        recall = np.concatenate([[0.0], hits / max(self.people, 1)])
        return float((np.diff(recall) * envelope).sum())


def match(
    boxes: Boxes, scores: npt.NDArray[Any], truth: Boxes, counts: npt.NDArray[np.bool_], into: Found
) -> None:
    """Match one frame's detections to people, best first, and enter them; people who do not count absorb theirs."""
    into.people += int(counts.sum())
    free = np.ones(len(truth), dtype=np.bool_)
    overlap = box_iou(boxes, truth)
    for row in np.argsort(-scores, kind="stable"):
        good = np.flatnonzero(free & counts & (overlap[row] >= IOU))
        if len(good):
            free[good[overlap[row, good].argmax()]] = False
        elif (~counts & (overlap[row] >= IOU)).any():
            continue
        into.scores.append(float(scores[row]))
        into.right.append(bool(len(good)))


def detect(
    video: Path, truth: MotFile, detector: Detector, config: IngestConfig, *, every: int, least_visible: float
) -> tuple[Found, bool]:
    """Score the detector on every n-th frame of a video, with tiles if ingest would take them."""
    source = open_source(video, config)
    tiled, _ = choose_tiles(source, detector, config)
    find = finder(detector, config, height=source.info.height, width=source.info.width, small=tiled)
    found = Found(scores=[], right=[], people=0)
    for frame in source.frames():
        if frame.index % every:
            continue
        seen = find(frame.image)
        rows = truth.rows_of(frame.index)
        match(seen.boxes, seen.scores, truth.boxes[rows], 1 - truth.hidden[rows] >= least_visible, found)
    return found, tiled


# -- tracklets ---------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Named:
    """Tracklets of an ingest with the pids that the truth gives them.

    Attributes:
        pid: by tracklet name; 0 for nobody.
        first: frame at which each begins.
        mixed: how many hold several people.
    """

    pid: dict[str, int]
    first: dict[str, int]
    mixed: int

    def told(self, truth: dict[int, MotFile]) -> dict[str, int]:
        """Counts for people."""
        visits = Counter((p, name.partition("_")[0]) for name, p in self.pid.items() if p != NOBODY)
        return {
            "tracklets": len(self.pid),
            "nobody": sum(p == NOBODY for p in self.pid.values()),
            "mixed": self.mixed,
            "fragments": sum(n - 1 for n in visits.values()),
            "sightings": len(visits),
            "of": sum(len(np.unique(file.track)) for file in truth.values()),
        }


def name_tracklets(folder: Path, truth: dict[int, MotFile]) -> Named:
    """Give every tracklet the pid of the true track that it overlaps most."""
    votes: dict[str, list[int]] = {}
    first: dict[str, int] = {}
    for camid, file in truth.items():
        with (folder / "boxes" / f"cam{camid}.csv").open(newline="") as opened:
            for row in csv.DictReader(opened):
                frame = int(row["frame"])
                left, top, width, height = (float(row[k]) for k in ("left", "top", "width", "height"))
                box = np.array([[left, top, left + width, top + height]], dtype=np.float32)
                rows = file.rows_of(frame)
                overlap = box_iou(box, file.boxes[rows])[0]
                best = int(overlap.argmax()) if len(overlap) else -1
                hit = best >= 0 and overlap[best] >= IOU
                votes.setdefault(row["tracklet"], []).append(int(file.track[rows][best]) if hit else NOBODY)
                first.setdefault(row["tracklet"], frame)
    pids, mixed = {}, 0
    for name, cast in votes.items():
        people = Counter(v for v in cast if v != NOBODY)
        matched = people.total()
        pids[name] = people.most_common(1)[0][0] if 2 * matched >= len(cast) and matched else NOBODY
        mixed += bool(matched) and max(people.values()) < PURE * matched
    return Named(pid=pids, first=first, mixed=mixed)


def tracking(truth: Path, tracks: Path) -> dict[str, dict[str, float]]:
    """HOTA, MOTA, IDF1 and more by camera and combined, by the library `trackers`."""
    from trackers.eval.evaluate import evaluate_mot_sequences

    result = evaluate_mot_sequences(truth, tracks, metrics=["CLEAR", "HOTA", "Identity"])
    rows = {**result.sequences, "all": result.aggregate}
    return {
        name: {
            "HOTA": r.HOTA.HOTA,
            "DetA": r.HOTA.DetA,
            "AssA": r.HOTA.AssA,
            "MOTA": r.CLEAR.MOTA,
            "IDF1": r.Identity.IDF1,
            "switches": r.CLEAR.IDSW,
            "fragments": r.CLEAR.Frag,
        }
        for name, r in rows.items()
    }


# -- answers -----------------------------------------------------------------------------------------------


def wanted(truth: dict[int, MotFile]) -> set[Key]:
    """Sightings of the truth whose person another camera sees as well."""
    seen = {(int(pid), camid) for camid, file in truth.items() for pid in np.unique(file.track)}
    cameras = Counter(pid for pid, _ in seen)
    return {(pid, camid) for pid, camid in seen if cameras[pid] > 1}


def answers(folder: Path, named: Named, truth: dict[int, MotFile], *, model: Path) -> dict[str, Any]:
    """Embed the tracklets of an ingest and score the search across cameras."""
    network = load(model)
    tracklets = sorted(read_split(folder).test, key=lambda t: (t.camid, named.first[t.name], t.name))
    features = collect(network.extractor, tracklets, network.settings)
    pids = np.array([named.pid[t.name] for t in tracklets])
    camids = np.array([t.camid for t in tracklets])
    everybody = wanted(truth)
    queries: dict[Key, int] = {}
    for row, key in enumerate(zip(pids.tolist(), camids.tolist(), strict=True)):
        elsewhere = bool(((pids == key[0]) & (camids != key[1])).any())
        if key in everybody and elsewhere:
            queries.setdefault(key, row)
    rows = np.array(sorted(queries.values()), dtype=np.int64)
    if not len(rows):
        return {"queries": 0, "of": len(everybody), "rank1": 0.0, "mAP": 0.0, "rank1_of_all": 0.0}
    distances = distance_matrix(
        features[rows], features, distance="euclidean" if is_ours(model) else "cosine"
    ).astype(np.float64)
    # A query searches the other cameras only: behind all of them lies what its own camera saw.
    own = camids[rows][:, None] == camids[None]
    distances[own] += distances.max() - distances.min() + 1
    found = score_distances(
        distances,
        query_pids=pids[rows],
        query_camids=camids[rows],
        gallery_pids=pids,
        gallery_camids=camids,
        name="other cameras",
    )
    return {
        "queries": len(rows),
        "of": len(everybody),
        "gallery": len(pids),
        "rank1": found.rank(1),
        "rank5": found.rank(5),
        "mAP": found.mAP,
        "rank1_of_all": found.rank(1) * len(rows) / len(everybody),
    }


# -- the chain ---------------------------------------------------------------------------------------------


def chain(args: argparse.Namespace) -> dict[str, Any]:
    """Run everything; what is there from an earlier run is kept."""
    videos = sorted(args.videos.glob("cam*.mp4"))
    files = [args.videos / "ground_truth" / f"{video.stem}.txt" for video in videos]
    if not videos or not all(f.is_file() for f in files):
        sys.exit(
            f"{args.videos} holds no videos with ground truth; make them with `intraclip data make-videos`"
        )
    truth = {int(v.stem.removeprefix("cam")): read_mot(f) for v, f in zip(videos, files, strict=True)}
    config = IngestConfig(
        camera_motion=False, tiling=args.tiling, min_height=args.min_height, min_width=args.min_width
    )
    result: dict[str, Any] = {"detection": {}, "tracking": {}, "tracklets": {}, "answers": {}}

    detector = open_detector(args.detector, config)
    everything = Found(scores=[], right=[], people=0)
    for video, file in zip(videos, truth.values(), strict=True):
        found, tiled = detect(
            video, file, detector, config, every=args.detect_every, least_visible=args.least_visible
        )
        everything.scores += found.scores
        everything.right += found.right
        everything.people += found.people
        result["detection"][video.stem] = {**figures(found, config.track_score), "tiled": tiled}
    result["detection"]["all"] = figures(everything, config.track_score)

    sides: dict[str, tuple[Path | None, Sequence[Path]]] = {
        "video": (args.detector, ()),
        "true tracks": (None, files),
    }
    for side, (network, tracks) in sides.items():
        folder = args.out / side.replace(" ", "-")
        # A finished folder is left as it is: scores can be asked for again with other encoders.
        ingest(videos, detector=network, out=folder, settings=config, tracks=tracks, resume=folder.exists())
        if network is not None:
            result["tracking"] = tracking(args.videos / "ground_truth", folder / "tracks")
        named = name_tracklets(folder, truth)
        result["tracklets"][side] = named.told(truth)
        for model in (*args.run, *args.encoder):
            scores = answers(folder, named, truth, model=model)
            result["answers"].setdefault(model.name, {})[side] = scores
    return result


def figures(found: Found, score: float) -> dict[str, Any]:
    """Precision, recall, average precision."""
    precision, recall = found.at(score)
    ap = found.average_precision()
    return {"precision": precision, "recall": recall, "AP": ap, "people": found.people}


def table(rows: dict[str, dict[str, Any]]) -> None:
    """Shares in percent, counts as they are."""
    columns = list(dict.fromkeys(key for row in rows.values() for key in row))
    print(f"{'':14}" + "".join(f"{c:>13}" for c in columns))
    for name, row in rows.items():
        cells = (row.get(c, "") for c in columns)
        print(
            f"{name:14}"
            + "".join(f"{100 * v:13.1f}" if isinstance(v, float) else f"{v!s:>13}" for v in cells)
        )
    print()


def main() -> None:
    """Read the flags, run the chain, print tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("videos", type=Path, help="folder of `intraclip data make-videos`")
    parser.add_argument(
        "--detector", type=Path, required=True, help="person detector, as for `intraclip ingest`"
    )
    parser.add_argument("--run", type=Path, nargs="*", default=[], help="trained runs that embed")
    parser.add_argument("--encoder", type=Path, nargs="*", default=[], help="TOML files of other networks")
    parser.add_argument("--out", type=Path, required=True, help="folder for the two ingests")
    parser.add_argument("--tiling", choices=["auto", "on", "off"], default="auto")
    parser.add_argument("--min-height", type=int, default=48, help="ingest's gate, pixels")
    parser.add_argument("--min-width", type=int, default=16, help="ingest's gate, pixels")
    parser.add_argument("--detect-every", type=int, default=5, help="score the detector on every n-th frame")
    parser.add_argument("--least-visible", type=float, default=0.25)
    parser.add_argument("--json", type=Path, help="write all figures here too")
    args = parser.parse_args()
    result = chain(args)
    for part in ("detection", "tracking", "tracklets"):
        print(part)
        table(result[part])
    for name, sides in result["answers"].items():
        print(f"answers of {name}")
        table(sides)
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
