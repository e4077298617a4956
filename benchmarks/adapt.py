"""Adaptation on rendered sites whose labels are hidden: rank-1 and mAP before and after, in one command.

    python benchmarks/adapt.py --folder sites               # renders three sites and adapts on each; can be stopped
    python benchmarks/adapt.py --folder sites --mixed 0.3   # with a second person in 30 % of the tracklets
    python benchmarks/adapt.py --folder sites --ask 0 20 50 100 --order useful unsure any   # with answers by the labels

Sites: the plain benchmark, a harder one (colour casts, exposure, small people), and `diverse`; people, places and
cameras that `base` never saw. Everything is adapted on and scored: every tracklet of a known person searches all others
of other cameras. Intervals are over people (95 %). One line of JSON a run in results.jsonl.

With --ask the labels answer questions: those that `adapt` asks ("useful"), random ones among the pairs whose Jaccard
distance lies within `UNSURE` of the cut ("unsure"), or among all ("any"). F1 is that of the pairs in the groups that
are learned; "learned" is the network of the last round, whether or not the guard takes it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

import intraclip as ic
from intraclip.adapt import asking
from intraclip.adapt.adapting import Adapted
from intraclip.adapt.answers import Settled
from intraclip.adapt.clusters import LEVEL
from intraclip.adapt.questions import Question, next_question
from intraclip.data.readers import read_split
from intraclip.metrics.embeddings import Embeddings
from intraclip.studio import BenchmarkConfig, Difficulty, DiverseConfig, make_benchmark, make_diverse
from intraclip.types import Split, Tracklet

UNSURE = 0.3
ORDERS = ("useful", "unsure", "any")
SITES = ("plain", "hard", "diverse")
OFFSETS = {"plain": 0, "hard": 1, "diverse": 8500}
"""Of the sites' seeds: no two sites share people; `diverse` keeps clear of the seeds that `base` has seen."""
HARD = Difficulty(colour_cast=2.0, exposure=1.5, low_resolution=0.6)


def render(folder: Path, site: str, *, people: int, seed: int) -> Path:
    """A site's folder, rendered if it is not there; it appears whole or not at all."""
    out = folder / f"{site}-{seed}-{people}"
    if out.exists():
        return out
    partial = out.with_name(f"{out.name}.partial{int(time.time())}")
    size = {"identities": people, "cameras": 4, "seed": seed + OFFSETS[site], "height": 192, "width": 96}
    if site == "diverse":
        make_diverse(partial, DiverseConfig(**size, frames=10, test=people), workers=1)
    else:
        config = BenchmarkConfig(
            **size,
            tracklets_per_camera=(1, 1),
            frames=(10, 12),
            difficulty=HARD if site == "hard" else Difficulty(),
        )
        make_benchmark(partial, config, workers=1)
    partial.rename(out)
    return out


def mixed(tracklets: Sequence[Tracklet], share: float, seed: int) -> list[Tracklet]:
    """The tracklets, the second half of some replaced by frames of another person before the same camera."""
    rng = np.random.default_rng([seed, 9])
    found = list(tracklets)
    for row in rng.permutation(len(found))[: round(share * len(found))].tolist():
        own = tracklets[row]
        others = [t for t in tracklets if t.camid == own.camid and t.pid != own.pid]
        if not others:
            continue
        other = others[int(rng.integers(len(others)))]
        half = len(own) // 2
        frames = own.frames[:half] + other.frames[len(other) // 2 :]
        if own.root == other.root:
            found[row] = replace(own, frames=frames)
    return found


def scores(network: ic.Network, tracklets: Sequence[Tracklet]) -> dict[str, float | list[float]]:
    """Rank-1 and mAP in percent, with intervals."""
    e = network.embed(list(tracklets), workers=0)
    labelled = Embeddings(
        features=e.features,
        pids=np.array([t.pid for t in tracklets]),
        camids=np.array([t.camid for t in tracklets]),
        is_query=np.array([t.pid > 0 for t in tracklets]),
    )
    found = ic.score(labelled, protocol="mars-full", distance="cosine")
    told: dict[str, float | list[float]] = {"rank1": 100 * found.rank(1), "mAP": 100 * found.mAP}
    if found.intervals is not None:
        for name, interval in found.intervals.scores.items():
            if name in told:
                told[f"{name} interval"] = [100 * interval.low, 100 * interval.high]
    return told


def chosen_by(order: str, seed: int) -> Callable[..., Question | None]:
    """What chooses questions."""
    rng = np.random.default_rng([seed, 11])

    def draw(scores: np.ndarray, settled: Settled, **_: object) -> Question | None:
        open_pairs = np.triu(~(settled.together | settled.apart), 1)
        if order == "unsure":
            open_pairs &= np.abs(scores + LEVEL) < UNSURE
        pairs = np.argwhere(open_pairs)
        if not len(pairs):
            return None
        a, b = pairs[int(rng.integers(len(pairs)))].tolist()
        return Question(a=a, b=b, pairs=1, chance=0.5)

    return next_question if order == "useful" else draw


def f1(found: Adapted, pids: Mapping[str, int]) -> float:
    """Of the pairs that share a group, among the tracklets that were learned from, in percent."""
    person = np.delete(found.clusters.person, found.held)
    names = [
        t.name.partition("@")[0] for row, t in enumerate(found.footage.tracklets) if row not in found.held
    ]
    who = np.array([pids[name] for name in names])
    groups = np.where(person > 0, person, -1 - np.arange(len(person)))
    rows = np.triu_indices(len(who), 1)
    said, true = ((x[:, None] == x)[rows] for x in (groups, who))
    return float(200 * (said & true).sum() / max(1, said.sum() + true.sum()))


def main(argv: Sequence[str] | None = None) -> None:
    """Render, adapt, score, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--model", default="base")
    parser.add_argument("--sites", nargs="+", choices=SITES, default=SITES)
    parser.add_argument("--people", type=int, default=32)
    parser.add_argument("--render-seed", type=int, default=501)
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument(
        "--mixed", type=float, default=0.0, help="share of tracklets that hold a second person"
    )
    parser.add_argument("--ask", type=int, nargs="+", default=(0,), help="questions that the labels answer")
    parser.add_argument("--order", nargs="+", choices=ORDERS, default=ORDERS[:1], help="what chooses them")
    args = parser.parse_args(argv)
    log = args.folder / "results.jsonl"
    args.folder.mkdir(parents=True, exist_ok=True)
    done = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    rows = []
    asked = [(count, order) for count in args.ask for order in (args.order if count else ORDERS[:1])]
    for seed in args.seeds:
        for site, (count, order) in itertools.product(args.sites, asked):
            told = (
                args.model,
                site,
                args.people,
                args.render_seed,
                seed,
                args.mixed,
                args.rounds,
                args.epochs,
                *((count, order) if count else ()),
            )
            key = " ".join(map(str, told))
            row = next((r for r in done if r["key"] == key), None)
            if row is None:
                row = {"key": key, "site": site, "seed": seed, **one(args, site, seed, count, order)}
                with log.open("a") as file:
                    file.write(json.dumps(row) + "\n")
            rows.append(row)
            before, after = row["before"], row["after"]
            how = f"round {row['rounds']}" if row["won"] else "the old one kept"
            print(
                f"{site:8} seed {seed}: rank-1 {before['rank1']:.1f} -> {after['rank1']:.1f}, "
                f"mAP {before['mAP']:.1f} -> {after['mAP']:.1f} ({how}; {row['seconds']:.0f} s of processor)"
                + (
                    f"; {count} {order} questions, F1 {row['f1']:.1f}, learned mAP {row['learned']['mAP']:.1f}"
                    if "f1" in row
                    else ""
                ),
                flush=True,
            )
    gains = np.array([row["after"]["mAP"] - row["before"]["mAP"] for row in rows])
    print(f"mAP: {gains.mean():+.1f} on average, {gains.min():+.1f} at least, {len(gains)} runs")


def one(args: argparse.Namespace, site: str, seed: int, count: int, order: str) -> dict[str, object]:
    """One adaptation, scored before and after."""
    split = read_split(render(args.folder, site, people=args.people, seed=args.render_seed))
    whole = (*split.train, *split.test)
    given = mixed(whole, args.mixed, seed) if args.mixed else list(whole)
    data = Split(
        dataset="site", root=split.root, train=(), query=(), gallery=tuple(given), protocol="cross-camera"
    )
    out = (
        args.folder
        / f"run-{site}-{args.render_seed}-{args.people}-{seed}-{args.mixed:g}-{args.rounds}-{args.epochs}"
        f"{f'-{count}-{order}' if count else ''}"
    )
    pids = {t.name: t.pid for t in whole}

    def responder(asked: asking.Asked) -> asking.Reply:
        one, other = (pids[t.name.partition("@")[0]] for t in (asked.query, asked.tracklet))
        return "same" if one == other and one > 0 else "different"

    asking.next_question = chosen_by(order, seed)  # the rivals are nobody's choice but the benchmark's
    began = time.process_time()
    found = ic.adapt(
        args.model,
        data=data,
        out=out,
        seed=seed,
        rounds=args.rounds,
        epochs=args.epochs,
        device="cpu",
        resume=True,
        ask=count,
        responder=responder,
    )
    seconds = time.process_time() - began
    # Scored on the tracklets of one person each: what is asked is whether the network became better.
    return {
        "before": scores(ic.load(args.model), whole),
        "after": scores(ic.load(out), whole),
        "won": found.won,
        "rounds": found.rounds,
        "cut": found.cut,
        "guard": [found.before.figures, found.after.figures],
        "people": found.clusters.people,
        "f1": f1(found, pids),
        "learned": scores(ic.load(out / "rounds" / str(args.rounds) / "training"), whole),
        "seconds": seconds,
    }


if __name__ == "__main__":
    main()
