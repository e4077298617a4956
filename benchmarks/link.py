"""How well `intraclip link` groups the test people of the shipped benchmark, and how well its probabilities hold.

Run: python benchmarks/link.py EMBEDDINGS.npz... --data BENCH [--draws 10]
     python benchmarks/link.py --many 100000 [--seed 0]     # time and memory, drawn vectors

The calibration is fitted on half of the test people, and everything is scored on the other half; people are split anew
in each draw. Distractors are split too, junk is left out.

Tracklets of the benchmark have no times. For the rows "times" they are drawn, on top of the real embeddings: everybody
arrives within ten minutes and passes through the own tracklets in random order. Between two cameras lies a minimum of
20 to 60 s, a usual time of 1.6 times that, and a log-normal spread of 0.4; tracklets last 4 to 15 s. So these rows say
what times are worth if they are like that, not what they are worth at some place.

`--many` links so many drawn tracklets, with nothing given: ten a person, 32 cameras, one day, everybody's visits one
after the other. Their vectors, 256 numbers, are a person (a normal draw whose directions fade as those of real networks
do), what the camera adds to all it sees, and what is of this visit alone, half as strong as the person (`--noise`).
"""

from __future__ import annotations

import argparse
import math
import resource
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression

from intraclip.data.readers import read_split
from intraclip.embed.embeddings_io import load_embeddings
from intraclip.link.evidence import Evidence
from intraclip.link.people import link
from intraclip.link.scores import score_people
from intraclip.link.travel import Travel, TravelTimes
from intraclip.metrics.calibration import PairDistances, pair_distances
from intraclip.metrics.distance import DISTANCES, Distance
from intraclip.metrics.distance_matrix import distance_matrix
from intraclip.metrics.embeddings import Embeddings
from intraclip.metrics.match_fit import fit_calibration
from intraclip.metrics.protocols import PROTOCOLS

Rows = npt.NDArray[np.int64]


def main() -> None:
    """Print both tables for every file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", type=Path, nargs="*")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--many", type=int, help="tracklets to draw and link")
    parser.add_argument("--seed", type=int, default=0, help="of --many")
    parser.add_argument(
        "--noise", type=float, default=0.5, help="of --many: strength of what is of a visit alone"
    )
    args = parser.parse_args()
    if args.many:
        many(args.many, args.seed, args.noise)
        if not args.files:
            return
    if not args.files or args.data is None:
        parser.error("embeddings and --data are needed, or --many")
    frames = {t.name: len(t) for t in read_split(args.data).test}
    for path in args.files:
        embeddings = load_embeddings(path)
        for metric in DISTANCES:
            print(f"\n{path}, {metric} distance, {args.draws} draws: mean ± standard deviation over draws, %")
            links(embeddings, metric, frames, args.draws)
            print("log-loss on 50 other people, fitted on n: logistic / isotonic; prior 0.01")
            probabilities(embeddings, metric, args.draws)


def many(count: int, seed: int, noise: float) -> None:
    """Link drawn tracklets once; how long it takes and how much memory."""
    evidence, pids = drawn(count, seed, noise)
    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.perf_counter()
    people = link(evidence, tuple(f"t{i:07d}" for i in range(count)))
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    scores = score_people(people.person, pids)
    print(
        f"{count:,} tracklets, noise {noise:g}, seed {seed}: {wall:.0f} s ({cpu:.0f} s of processor time), peak memory "
        f"{after.ru_maxrss / 2**20:.2f} GiB ({before.ru_maxrss / 2**20:.2f} GiB before it began); {people.count:,} "
        f"people, precision {100 * scores.precision:.1f}, recall {100 * scores.recall:.1f}, "
        f"IDF1 {100 * scores.idf1:.1f}"
    )
    for sentence in (people.rule, *people.notes):
        print(f"  {sentence}")


def drawn(count: int, seed: int, noise: float) -> tuple[Evidence, Rows]:
    """Tracklets as the text above says, and whom they show."""
    rng = np.random.default_rng(seed)
    size, cameras, visits = 256, 32, 10
    fade = np.arange(1, size + 1) ** -0.5
    pids = np.arange(count) // visits + 1
    camids = rng.integers(1, cameras + 1, size=count)
    features = (rng.normal(size=(int(pids.max()) + 1, size)) * fade).astype(np.float32)[pids]
    features += (rng.normal(size=(cameras + 1, size)) * fade / 2).astype(np.float32)[camids]
    features += (noise * rng.normal(size=(count, size)) * fade).astype(np.float32)
    day = 86_400.0
    starts = (
        rng.uniform(0, day - visits * 90, size=int(pids.max()) + 1)[pids] + np.arange(count) % visits * 90
    )
    times = np.stack([starts, starts + rng.uniform(5, 25, size=count)], axis=1)
    return Evidence(features=features, camids=camids, metric="cosine", times=times), pids


def taken(embeddings: Embeddings, rows: Rows) -> Embeddings:
    """Some tracklets, all of them queries: every pair counts."""
    return Embeddings(
        features=embeddings.features[rows],
        pids=embeddings.pids[rows],
        camids=embeddings.camids[rows],
        is_query=np.ones(len(rows), dtype=np.bool_),
        names=tuple(embeddings.names[row] for row in rows.tolist()),
    )


def halves(embeddings: Embeddings, rng: np.random.Generator, people: int) -> tuple[Embeddings, Embeddings]:
    """So many people to calibrate on, and the last half of all to score."""
    pids = rng.permutation(np.unique(embeddings.pids[embeddings.pids > 0]))
    half = len(pids) // 2
    distractors = rng.permutation(np.flatnonzero(embeddings.pids == 0))
    cut = len(distractors) // 2
    fit = np.flatnonzero(np.isin(embeddings.pids, pids[: min(people, half)]))
    test = np.flatnonzero(np.isin(embeddings.pids, pids[half:]))
    return (
        taken(embeddings, np.concatenate([fit, distractors[:cut]])),
        taken(embeddings, np.concatenate([test, distractors[cut:]])),
    )


def draw_times(
    embeddings: Embeddings, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float64], TravelTimes]:
    """Times as the text above says."""
    cameras = sorted(set(embeddings.camids.tolist()))
    travel = {}
    for i, first in enumerate(cameras):
        for second in cameras[i + 1 :]:
            least = float(rng.uniform(20, 60))
            travel[first, second] = Travel(minimum_s=least, usual_s=1.6 * least)
    times = np.zeros((len(embeddings), 2))
    owners = np.where(embeddings.pids > 0, embeddings.pids, -1 - np.arange(len(embeddings)))
    for owner in np.unique(owners):
        now, before = rng.uniform(0, 600), None
        for row in rng.permutation(np.flatnonzero(owners == owner)).tolist():
            camera = int(embeddings.camids[row])
            if before == camera:
                now += rng.uniform(1, 10)
            elif before is not None:
                way = travel[min(camera, before), max(camera, before)]
                now += max(way.minimum_s, (way.usual_s or 0) * math.exp(0.4 * rng.normal()))
            times[row] = now, now + rng.uniform(4, 15)
            now, before = times[row, 1], camera
    return times, TravelTimes(travel=travel)


def ways(
    fit: Embeddings, test: Embeddings, metric: Distance, rng: np.random.Generator
) -> Iterator[tuple[str, Evidence, dict[str, Any]]]:
    """Every way to link that is compared."""
    times, travel = draw_times(test, rng)
    least = TravelTimes(travel={pair: Travel(minimum_s=t.minimum_s) for pair, t in travel.travel.items()})
    calibration = fit_calibration(fit, metric=metric)
    plain: dict[str, Any] = {"features": test.features, "camids": test.camids, "metric": metric}
    known = {**plain, "calibration": calibration}
    yield "silhouette, no labels", Evidence(**plain), {}
    yield "threshold at FMR 0.001", Evidence(**plain), {"threshold": calibration.threshold(1e-3)}
    yield "threshold at FMR 0.01", Evidence(**plain), {"threshold": calibration.threshold(1e-2)}
    yield "calibrated", Evidence(**known), {}
    yield "calibrated, --probability 0.5", Evidence(**known), {"probability": 0.5}
    yield "silhouette, times", Evidence(**plain, times=times), {}
    yield "calibrated, times", Evidence(**known, times=times), {}
    yield "calibrated, times, minimum", Evidence(**known, times=times, travel=least), {}
    yield "calibrated, times, minimum, usual", Evidence(**known, times=times, travel=travel), {}


def links(embeddings: Embeddings, metric: Distance, frames: dict[str, int], draws: int) -> None:
    """Scores of the groups."""
    found = defaultdict(list)
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        fit, test = halves(embeddings, rng, len(embeddings))
        weights = np.array([frames[name] for name in test.names], dtype=np.int64)
        for name, evidence, settings in ways(fit, test, metric, rng):
            s = score_people(link(evidence, test.names, **settings).person, test.pids, weights)
            found[name].append((s.precision, s.recall, s.f1, s.bcubed_f1, s.idf1))
    print(f"{'':36}{'precision':>12}{'recall':>12}{'F1':>12}{'B-cubed F1':>12}{'IDF1':>12}")
    for name, rows in found.items():
        mean, spread = 100 * np.mean(rows, axis=0), 100 * np.std(rows, axis=0, ddof=1)
        print(f"{name:36}" + "".join(f"{m:6.1f} ± {s:<3.1f}" for m, s in zip(mean, spread, strict=True)))


def isotonic_ratio(pairs: PairDistances) -> Callable[[npt.NDArray[Any]], npt.NDArray[Any]]:
    """Log likelihood ratio by isotonic regression; all impostors must be kept.

    A pair of either kind is added at both ends, so that no distance proves anything; both kinds weigh alike.
    """
    ends = [0.0, np.finfo(np.float32).max]
    genuine, impostors = (np.append(d, ends) for d in (pairs.genuine, pairs.nearest_impostors))
    weights = [np.full(len(d), 1 / len(d)) for d in (genuine, impostors)]
    fit = IsotonicRegression(increasing=False).fit(
        np.concatenate([genuine, impostors]),
        np.arange(len(genuine) + len(impostors)) < len(genuine),
        sample_weight=np.concatenate(weights),
    )
    return lambda distances: logit(fit.predict(distances))


def probabilities(embeddings: Embeddings, metric: Distance, draws: int, prior: float = 0.01) -> None:
    """Log-loss of the logistic fit and of the isotonic one, on people that were not fitted."""
    odds = math.log(prior / (1 - prior))
    for people in (5, 10, 20, 50):
        losses = []
        for seed in range(draws):
            fit, test = halves(embeddings, np.random.default_rng(seed), people)
            distances = distance_matrix(test.features, test.features, distance=metric)
            other = np.triu(test.camids[:, None] != test.camids, 1)
            same = (test.pids[:, None] == test.pids) & (test.pids > 0)
            unknown = (test.pids[:, None] == 0) & (test.pids == 0)
            genuine, impostor = distances[other & same], distances[other & ~same & ~unknown]
            pairs = pair_distances(fit, PROTOCOLS["mars-full"], distance=metric)
            for ratio in (
                fit_calibration(pairs, metric=metric).log_likelihood_ratio,
                isotonic_ratio(pairs),
            ):
                right = np.log(expit(ratio(genuine) + odds)).mean()
                wrong = np.log(expit(-ratio(impostor) - odds)).mean()
                losses.append(-prior * right - (1 - prior) * wrong)
        logistic, isotonic = np.reshape(losses, (draws, 2)).mean(axis=0)
        print(f"  n = {people:2}: {logistic:.4f} / {isotonic:.4f}")


if __name__ == "__main__":
    main()
