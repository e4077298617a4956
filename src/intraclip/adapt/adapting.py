"""The rounds of an adaptation, and what is kept of them.

::

    RUN/
      adapt.json           what it was begun with
      footage.npz          tracklets, cut where two people share one, as the first network sees them
      answers.csv          questions that were asked, with their answers
      said.npz             all that people said, as it was when learning began
      rounds/1/            start.safetensors: blind to cameras; clusters.csv: who was taken for whom; training/: a run
                           of `intraclip train` on it
      rounds/2/seen.npz    the tracklets as the network of round 1 sees them
      config.toml, model.safetensors   the network that won: a run like any other
      result.json          figures before and after, and who won
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from intraclip.adapt.answers import Settled, settle
from intraclip.adapt.asking import Asking, Responder
from intraclip.adapt.clusters import FEWEST, Clusters, across, cluster, directions
from intraclip.adapt.footage import Footage, gallery_in, piece, read_footage
from intraclip.adapt.guard import FEWEST_HELD, Guard, guard, held_out
from intraclip.adapt.look import Look, cut_in_two, look, strangers
from intraclip.config import (
    AugmentConfig,
    BatchConfig,
    DataConfig,
    FinetuneConfig,
    OptimizerConfig,
    Recipe,
    RunConfig,
)
from intraclip.config_io import dump_recipe
from intraclip.core.devices import choose_device
from intraclip.core.files import whole_file, write_json, write_text
from intraclip.core.folders import leaving_nothing, require_empty_folder
from intraclip.core.jobs import Job
from intraclip.core.progress import Progress
from intraclip.core.tables import write_csv
from intraclip.data.in_memory import ArrayTracklet
from intraclip.data.readers.common import tracklets_digest
from intraclip.embed.extract import extractor_of
from intraclip.embed.extractors import ExtractSettings
from intraclip.embed.network import Network
from intraclip.errors import ConfigError, DataError, OutputError
from intraclip.gallery.answers import Answer, read_answers, require_known
from intraclip.gallery.gallery import Gallery, open_gallery
from intraclip.link.agglomeration import Indices
from intraclip.link.evidence import Evidence
from intraclip.link.travel import TravelTimes, read_travel_times
from intraclip.models.checkpoint import Checkpoint, load_model, read_checkpoint
from intraclip.models.embedder import ClipEmbedder
from intraclip.models.heads.directions import take_out
from intraclip.models.saving import save_checkpoint, training_checkpoints
from intraclip.models.start import trained_before
from intraclip.train.loop import Silent, Watcher, train
from intraclip.train.stopping import RunStopped
from intraclip.types import Split, Tracklet

ROUNDS = 2
EPOCHS = 10

FEWEST_PEOPLE = 4
"""Groups below which there is nothing to tell apart."""

ALIKE = 1e-3
"""Cosine distance of tracklets that a network cannot tell apart."""

PEOPLE, CLIPS, FRAMES = 8, 4, 2
"""Of a batch: people, clips of each, frames of a clip."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Adapted:
    """What came of an adaptation.

    Attributes:
        run: the run folder; `load` opens the network that won.
        won: whether that is an adapted one.
        rounds: that the adapted one has learned in; 0 if it was only made blind to cameras.
        before: the guard's figures of the network that it began with.
        after: of the adapted one.
        footage: tracklets and parts of tracklets ``[N]``.
        seen_before: vectors ``[N, D]`` of the first network.
        seen_after: of the adapted one.
        held: rows that nothing was learned from.
        clusters: of all rows in the last round; 0 for those held out too.
        impossible: bool ``[N, N]``, pairs that cannot be one person.
        cut: tracklets that held two people.
        answered: questions that were answered, those that nobody could tell among them.
        settled: pairs that were learned from and are one person, or two, by what people said.
    """

    run: Path
    won: bool
    rounds: int
    before: Guard
    after: Guard
    footage: Footage
    seen_before: npt.NDArray[np.float32]
    seen_after: npt.NDArray[np.float32]
    held: Indices
    clusters: Clusters
    impossible: npt.NDArray[np.bool_]
    cut: int
    answered: int
    settled: tuple[int, int]
    notes: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """Who won, in a sentence."""
        if not self.won:
            return (
                "the adapted network did not win on the tracklets that were held out, so the old one is kept: "
                f"{self.run} holds a copy of it"
            )
        how = (
            f"after {self.rounds} rounds"
            if self.rounds
            else "made blind to cameras, before any round of training"
        )
        return f"the adapted network won, {how}"

    def __repr__(self) -> str:
        return f"Adapted({'won' if self.won else 'the old network is kept'}, {self.clusters}, {self.run})"

    def to_json_dict(self) -> dict[str, Any]:
        """As JSON holds it, arrays excepted."""
        return {
            "run": str(self.run),
            "won": self.won,
            "rounds": self.rounds,
            "before": asdict(self.before),
            "after": asdict(self.after),
            "tracklets": len(self.footage),
            "cut": self.cut,
            "answered": self.answered,
            "said_same": self.settled[0],
            "said_different": self.settled[1],
            "held_out": len(self.held),
            "people": self.clusters.people,
            "alone": self.clusters.noise - len(self.held),
            "impossible_pairs": self.before.pairs,
            "notes": list(self.notes),
        }


def adapt(
    model: str | Path = "base",
    *,
    data: str | Path | Split | Gallery | Sequence[str | Path | Split | Gallery],
    out: str | Path,
    travel: TravelTimes | str | Path | None = None,
    rounds: int = ROUNDS,
    epochs: int = EPOCHS,
    seed: int = 0,
    device: str = "auto",
    resume: bool = False,
    gallery: Gallery | str | Path | None = None,
    answers: str | Path | Sequence[Answer] = (),
    ask: int = 0,
    responder: Responder | None = None,
    by: str = "",
    watcher: Watcher | None = None,
    progress: Progress | None = None,
) -> Adapted:
    """Let a network learn a site's own people from tracklets that nobody labelled; see docs/adapt.md.

    Args:
        model: ``base``, a run folder, a checkpoint, or a network of the zoo that intraclip trained.
        data: folders of tracklets as `ingest` writes them or in any known layout, splits, or galleries; one or
            several, all of one site. Labels in them are not looked at.
        out: the run folder; new or empty, unless resuming.
        travel: travel times between cameras, or a TOML file of them (docs/link.md).
        rounds: times that the tracklets are grouped and learned from.
        epochs: of each round.
        seed: of everything drawn.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        resume: go on where the same adaptation was stopped.
        gallery: whose judgements and labels are followed, and where answers are kept; by default that of `data`, if it
            is one gallery.
        answers: more of them, or a file as `intraclip gallery export-labels` writes ``judgements.csv``; the gallery
            keeps them too, unless it knows a pair already.
        ask: questions to ask before anything is learned, those answered before a stop among them.
        responder: answers them.
        by: who that is.
        watcher: told about every step, and in sentences what was found.
        progress: called with frames done and in all, where tracklets are embedded.

    Returns:
        Who won, and by which figures. `out` holds the adapted network if that is better, else the old one.

    Raises:
        ConfigError: the network cannot be trained, or a number is out of range.
        CheckpointError: the network is missing or damaged.
        DataError: too few tracklets, one camera, too few people to tell apart, a gallery of another network or without
            these tracklets, or answers that are damaged or about others.
        OutputError: `out` is not empty, or holds another adaptation.
        RunStopped: SIGTERM or Ctrl-C while it trained; what was done is saved.

    >>> adapt(data=[], out="run")
    Traceback (most recent call last):
    ...
    intraclip.errors.DataError: no tracklets to learn from; name at least one folder or gallery
    """
    if rounds < 1 or epochs < 1 or seed < 0:
        raise ConfigError(f"rounds is {rounds}, epochs {epochs} and seed {seed}; at least 1, 1 and 0")
    if ask < 0 or (ask and responder is None):
        raise ConfigError(
            f"ask is {ask}: a number of questions, 0 for none, and a responder who answers them"
        )
    said = read_answers(Path(answers)) if isinstance(answers, str | Path) else list(answers)
    start = require_trainable(model)
    sources = [data] if isinstance(data, str | Path | Split | Gallery) else list(data)
    network = _opened(start, device)
    footage = read_footage(sources, fingerprint=network.fingerprint)
    _check(footage)
    if isinstance(travel, str | Path):
        travel = read_travel_times(Path(travel))
    run = Path(out)
    with leaving_nothing(run, unless=lambda: (run / "footage.npz").is_file()), ExitStack() as held:
        if gallery is None and len(sources) == 1:
            gallery = gallery_in(sources[0])
        if gallery is None:
            require_known(said, [t.name for t in footage.tracklets], of=f"of {footage.root}")
        if isinstance(gallery, str | Path):
            gallery = held.enter_context(open_gallery(gallery))
        work = _Adaptation(
            name=str(model),
            start=start,
            network=network,
            given=footage,
            run=run,
            travel=travel,
            rounds=rounds,
            epochs=epochs,
            seed=seed,
            device=device,
            asking=partial(Asking, gallery=gallery, given=said, by=by),
            ask=ask,
            responder=responder,
            watcher=watcher or Silent(),
            progress=progress,
        )
        held.callback(work.job.close)
        work.begin(resume=resume)
        return work.go()


def require_trainable(model: str | Path) -> Path:
    """The checkpoint of a network that can learn.

    Raises:
        ConfigError: it cannot be trained: a file for another engine, a description, or weights without a head.
        CheckpointError: it is missing or damaged.
    """
    file = trained_before(str(model))
    if file is None:
        raise ConfigError(
            f"{model} cannot be adapted: only networks that intraclip trained can learn, such as base, a run folder or "
            "a checkpoint (.safetensors). Files for OpenVINO, ONNX Runtime or torch.export hold no trainable network; "
            "timm:NAME has no head that embeds people yet"
        )
    return file


def _opened(file: Path, device: str) -> Network:
    checkpoint = read_checkpoint(file)
    model = load_model(checkpoint, device=choose_device(device))
    return Network(extractor_of(model), ExtractSettings.of(checkpoint.recipe))


def _check(footage: Footage) -> None:
    if len(footage) < FEWEST:
        raise DataError(
            f"{footage.root} holds {len(footage)} tracklets; at least {FEWEST} are needed to learn from, and 100 or "
            "more are better"
        )
    cameras = np.unique(footage.camids)
    if len(cameras) < 2:
        raise DataError(
            f"all {len(footage)} tracklets of {footage.root} are of camera {cameras[0]}; there is nothing to learn "
            "about people across cameras: add another camera's tracklets"
        )
    halved = sum(len(t) > 1 for t in footage.tracklets)
    if halved < FEWEST_HELD:
        raise DataError(
            f"{halved} of the {len(footage)} tracklets of {footage.root} have two frames or more; whether a network "
            f"became better is judged by tracklets whose halves find each other, so at least {FEWEST_HELD} are needed"
        )


@dataclass(kw_only=True)
class _Adaptation:
    """One adaptation and its files; see `adapt`."""

    name: str
    start: Path
    network: Network
    given: Footage
    run: Path
    travel: TravelTimes | None
    rounds: int
    epochs: int
    seed: int
    device: str
    asking: Callable[..., Asking]
    ask: int
    responder: Responder | None
    watcher: Watcher
    progress: Progress | None

    def __post_init__(self) -> None:
        tracklets = self.given.tracklets
        self.notes = list(self.given.notes)
        self.job = Job(
            self.run / "adapt.json",
            {
                "network": self.network.fingerprint,
                "tracklets": len(tracklets),
                "data": tracklets_digest(_split(self.given, gallery=tracklets), tracklets),
                "travel": None if self.travel is None else _as_json(self.travel),
                "rounds": self.rounds,
                "epochs": self.epochs,
                "seed": self.seed,
            },
            out=self.run,
            anew="choose another --out",
        )

    def begin(self, *, resume: bool) -> None:
        """Write down what this is, or find that it is the same again."""
        if resume and self.job.begun:
            self.job.hold()
            self.job.require_same(self.job.read())
            return
        require_empty_folder(
            self.run, remedy="choose another --out, or continue that adaptation with --resume"
        )
        self.job.begin()
        self.job.hold()

    def go(self) -> Adapted:
        """Everything that is not there yet."""
        footage, before, cut = self._begun()
        held = held_out(before, seed=self.seed)
        evidence = Evidence(
            features=before.vectors(),
            camids=footage.camids,
            metric="cosine",
            times=footage.times,
            sources=footage.sources,
            travel=self.travel,
        )
        impossible = np.isneginf(evidence.score_matrix())
        self._say_footage(footage, impossible, cut, held)
        learned = np.setdiff1d(np.arange(len(footage)), held)
        model, seen, clusters = self.start, before, Clusters(person=np.zeros(len(footage), dtype=np.int64))
        settled, answered = settle(impossible[np.ix_(learned, learned)]), 0
        candidates: list[tuple[Path, Look]] = []
        for number in range(1, self.rounds + 2):
            # The network without what it says about cameras is one to choose from, before it has learned anything.
            folder = self.run / "rounds" / str(number)
            if number > 1:
                seen = self._kept_look(folder / "seen.npz", model, footage)
            model, seen = self._without_cameras(folder, model, seen, footage, learned)
            candidates.append((model, seen))
            if number > self.rounds:
                break
            rows = footage.take(learned.tolist())
            if number == 1:
                settled, answered = self._said(rows, seen.vectors()[learned], settled.apart)
            found = self._clusters(folder, number, rows, seen.vectors()[learned], settled)
            clusters = Clusters(person=np.zeros(len(footage), dtype=np.int64))
            clusters.person[learned] = found.person
            model = self._train(folder, number, rows, found, model)
        first = guard(before, held, footage.camids, impossible)
        figures = [guard(s, held, footage.camids, impossible) for _, s in candidates]
        better = [n for n, figure in enumerate(figures) if figure.better_than(first)]
        chosen = max(better or range(len(figures)), key=lambda n: (figures[n].total, n))
        won = bool(better)
        self._keep(candidates[chosen][0] if won else None)
        result = Adapted(
            run=self.run,
            won=won,
            rounds=chosen,
            before=first,
            after=figures[chosen],
            footage=footage,
            seen_before=before.vectors(),
            seen_after=candidates[chosen][1].vectors(),
            held=held,
            clusters=clusters,
            impossible=impossible,
            cut=cut,
            answered=answered,
            settled=_counts(settled, impossible[np.ix_(learned, learned)]),
            notes=tuple(self.notes),
        )
        write_json(self.run / "result.json", result.to_json_dict())
        return result

    def _without_cameras(
        self, folder: Path, model: Path, seen: Look, footage: Footage, learned: Indices
    ) -> tuple[Path, Look]:
        """A network whose embeddings say less about cameras, and how it sees; the same one where that cannot be."""
        out = directions(seen.vectors()[learned], footage.camids[learned])
        file = folder / "start.safetensors"
        if out.shape[1] and not file.is_file():
            checkpoint = read_checkpoint(model)
            network = load_model(checkpoint, device=choose_device("cpu"))
            if take_out(network.head, torch.from_numpy(out)):
                _save_again(file, checkpoint, network, checkpoint.recipe)
        if not file.is_file():
            return model, seen
        return file, replace(seen, segments=tuple(across(s, out) for s in seen.segments))

    def _begun(self) -> tuple[Footage, Look, int]:
        """The tracklets, cut where it has to be, and how the first network sees them."""
        file = self.run / "footage.npz"
        if not file.is_file():
            self.watcher.message(f"looking at {len(self.given)} tracklets with {self.name}")
            seen = look(self.network, self.given.tracklets, progress=self.progress)
            if strangers(seen) < ALIKE:
                raise DataError(
                    f"the {len(self.given)} tracklets of {self.given.root} look all alike to {self.name}, so there is "
                    "nothing to learn from; begin with another network, or with clearer pictures"
                )
            cuts = cut_in_two(self.given, seen)
            segments = [seen.segments[row] for row, _, _ in cuts]
            starts = [seen.starts[row] for row, _, _ in cuts]
            if parts := [place for place, cut in enumerate(cuts) if not self._is_whole(cut)]:
                again = look(self.network, self._footage(cuts).take(parts).tracklets)
                for place, segment, start in zip(parts, again.segments, again.starts, strict=True):
                    segments[place], starts[place] = segment, start
            _save_look(file, Look(segments=tuple(segments), starts=tuple(starts)), cuts=np.array(cuts))
        before, there = _read_look(file)
        cuts = [(row, begin, end) for row, begin, end in there.tolist()]
        return self._footage(cuts), before, len({cut[0] for cut in cuts if not self._is_whole(cut)})

    def _is_whole(self, cut: tuple[int, int, int]) -> bool:
        return cut[1:] == (0, len(self.given.tracklets[cut[0]]))

    def _footage(self, cuts: Sequence[tuple[int, int, int]]) -> Footage:
        """The given tracklets as they were cut: number, first frame, and the one after the last."""
        found = self.given.take([row for row, _, _ in cuts])
        tracklets = tuple(
            t if (begin, end) == (0, len(t)) else piece(t, range(begin, end), name=f"{t.name}@{begin}")
            for t, (_, begin, end) in zip(found.tracklets, cuts, strict=True)
        )
        times = found.times
        if times is not None:
            last = [max(len(t) - 1, 1) for t in found.tracklets]
            shares = np.array([(b / n, (e - 1) / n) for n, (_, b, e) in zip(last, cuts, strict=True)])
            times = times[:, :1] + shares * (times[:, 1:] - times[:, :1])
        return replace(found, tracklets=tracklets, times=times)

    def _say_footage(
        self, footage: Footage, impossible: npt.NDArray[np.bool_], cut: int, held: Indices
    ) -> None:
        pairs = int(np.triu(impossible, 1).sum())
        if footage.times is None:
            self.notes.append(
                "nothing says when the tracklets were seen, so nobody is known to be two people: groups are less sure"
            )
        if cut:
            self.notes.append(
                f"{cut} of {len(self.given)} tracklets seem to hold two people and were cut where they change"
            )
        for note in self.notes:
            self.watcher.message(note)
        self.watcher.message(
            f"{len(footage)} tracklets of {len(np.unique(footage.camids))} cameras, {len(held)} held out; {pairs:,} "
            "pairs cannot be one person"
        )

    def _said(
        self, footage: Footage, vectors: npt.NDArray[np.float32], impossible: npt.NDArray[np.bool_]
    ) -> tuple[Settled, int]:
        """What people said, asked if wished, and how many answers this run had; fixed as soon as learning begins."""
        file, answers = self.run / "said.npz", self.run / "answers.csv"
        if not file.is_file() and not (self.run / "rounds/1/clusters.csv").is_file():
            asking = self.asking(footage, impossible, answers)
            if self.ask and self.responder is not None:
                asking.ask(vectors, self.ask, self.responder, self.watcher.message)
            _save_said(file, asking.settled())
        # A run that an older version began has no such file: nobody said anything then.
        settled = _read_said(file, len(footage)) if file.is_file() else settle(impossible)
        for note in settled.notes:
            self.watcher.message(note)
        self.notes += settled.notes
        same, different = _counts(settled, impossible)
        if same or different:
            self.watcher.message(
                f"by what people said, {same:,} pairs are one person, and {different:,} more are two"
            )
        return settled, len(read_answers(answers)) if answers.is_file() else 0

    def _clusters(
        self,
        folder: Path,
        number: int,
        footage: Footage,
        vectors: npt.NDArray[np.float32],
        settled: Settled,
    ) -> Clusters:
        """Who is who among the tracklets that are learned from, written down before anything is learned."""
        file = folder / "clusters.csv"
        names = [t.name for t in footage.tracklets]
        if file.is_file():
            found = _read_clusters(file, names)
        else:
            found = cluster(vectors, footage.camids, settled)
            if found.people < FEWEST_PEOPLE:
                if number == 1:  # nothing follows from what was said: other answers may
                    (self.run / "said.npz").unlink(missing_ok=True)
                raise DataError(
                    f"in round {number} the {len(footage)} tracklets make {found}: with fewer than {FEWEST_PEOPLE} "
                    "people there is nothing to learn; they look all alike, nobody comes twice, or answers say so"
                )
            rows = zip(names, footage.camids.tolist(), found.person.tolist(), strict=True)
            write_csv(file, ("tracklet", "camid", "person"), rows)
        self.watcher.message(f"round {number} of {self.rounds}: {found}")
        return found

    def _train(self, folder: Path, number: int, footage: Footage, found: Clusters, before: Path) -> Path:
        """The network of a round."""
        run = folder / "training"
        model = run / "model.safetensors"
        if not model.is_file():
            recipe = self._recipe(before, number, found.people)
            if any(isinstance(t, ArrayTracklet) for t in footage.tracklets):
                recipe = replace(recipe, data=replace(recipe.data, workers=0))
            train_on = tuple(
                replace(t, pid=person)
                for t, person in zip(footage.tracklets, found.person.tolist(), strict=True)
                if person
            )
            split, again = _split(footage, train=train_on), bool(training_checkpoints(run))
            try:
                train(recipe, data=split, out=run, resume=again, watcher=_Quiet(self.watcher))
            except RunStopped as stopped:
                raise RunStopped(
                    f"stopped in round {number} of {self.rounds}, as asked; what was done is saved in {self.run}: give "
                    "the same command again with --resume",
                    stopped.exit_code,
                ) from None
        shutil.rmtree(run / "checkpoints", ignore_errors=True)
        return model

    def _recipe(self, weights: Path, number: int, people: int) -> Recipe:
        """What a round trains with: the network's own recipe, and what adaptation needs."""
        own = read_checkpoint(weights).recipe
        blocks = len(
            load_model(read_checkpoint(self.start), device=choose_device("cpu")).backbone.block_names()
        )
        return replace(
            own,
            description=f"adaptation of {self.name} to a site's own tracklets, round {number}",
            seed=self.seed * 1000 + number,
            device=self.device,
            clip=replace(own.clip, num_frames=min(own.clip.num_frames, FRAMES), sampling="restricted"),
            batch=BatchConfig(identities=min(PEOPLE, people), clips=CLIPS, cameras="balanced"),
            augment=AugmentConfig(colour_probability=0.5, colour_strength=0.5),
            model=replace(own.model, weights=str(weights), triplet_reads="embedding"),
            loss={
                **own.loss,
                "triplet": {**own.loss.get("triplet", {}), "kind": "soft", "unit": True, "weight": 1.0},
                "identity": {**own.loss.get("identity", {}), "weight": 0.0},
                "memory": {**own.loss.get("memory", {}), "weight": 1.0},
            },
            optimizer=OptimizerConfig(learning_rate=3e-4, decay="cosine", average=0.9, epochs=self.epochs),
            finetune=FinetuneConfig(
                freeze_blocks=blocks // 2, freeze_batch_norm=own.finetune.freeze_batch_norm, body_rate=0.2
            ),
            data=DataConfig(workers=1),
            run=RunConfig(checkpoint_every=max(1, self.epochs // 4), keep_checkpoints=1, tensorboard=False),
        )

    def _kept_look(self, file: Path, model: Path, footage: Footage) -> Look:
        """How a network sees the tracklets, looked at once."""
        if not file.is_file():
            seen = look(_opened(model, self.device), footage.tracklets, progress=self.progress)
            _save_look(file, seen)
        return _read_look(file)[0]

    def _keep(self, trained: Path | None) -> None:
        """Make the run folder that of the network that won."""
        first = read_checkpoint(self.start)
        final = self.run / "model.safetensors"
        if trained is None:
            recipe = first.recipe
            with whole_file(final) as partial:
                shutil.copyfile(self.start, partial)
        else:
            checkpoint = read_checkpoint(trained)
            recipe = replace(
                checkpoint.recipe,
                description=f"adaptation of {self.name} to a site's own tracklets",
                clip=first.recipe.clip,  # tracklets are embedded as the first network embeds them
                device=first.recipe.device,
                model=replace(checkpoint.recipe.model, weights=self.name),
            )
            _save_again(final, checkpoint, load_model(checkpoint, device=choose_device("cpu")), recipe)
        write_text(self.run / "config.toml", dump_recipe(recipe))


def _save_again(file: Path, before: Checkpoint, network: ClipEmbedder, recipe: Recipe) -> None:
    """A checkpoint of the same training with a network or a recipe that was changed."""
    save_checkpoint(file, network, recipe=recipe, pids=before.pids, epoch=before.epoch, step=before.step)


class _Quiet(Silent):
    """Passes on steps, and of the messages those about frames."""

    def __init__(self, watcher: Watcher) -> None:
        self.step = watcher.step  # type: ignore[method-assign]
        self._say = watcher.message

    def message(self, text: str) -> None:
        if text.startswith(("replaced by", "resuming")):
            self._say(text)


def _split(
    footage: Footage, *, train: tuple[Tracklet, ...] = (), gallery: tuple[Tracklet, ...] = ()
) -> Split:
    return Split(
        dataset="site", root=footage.root, train=train, query=(), gallery=gallery, protocol="cross-camera"
    )


def _as_json(travel: TravelTimes) -> dict[str, Any]:
    return {
        "travel": {f"{a} {b}": asdict(t) for (a, b), t in sorted(travel.travel.items())},
        "clock": {str(camera): seconds for camera, seconds in sorted(travel.clock.items())},
        **({} if travel.others is None else {"others": asdict(travel.others)}),
    }


def _save_arrays(file: Path, **arrays: npt.NDArray[Any]) -> None:
    with whole_file(file) as partial, partial.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise OutputError(f"{file} is damaged: {error}; remove it, and go on with --resume") from None


def _save_look(file: Path, seen: Look, *, cuts: Indices | None = None) -> None:
    _save_arrays(
        file,
        segments=np.concatenate(seen.segments),
        sizes=np.array([len(s) for s in seen.segments]),
        starts=np.concatenate([np.array(s, dtype=np.int64) for s in seen.starts]),
        cuts=np.zeros((0, 3), dtype=np.int64) if cuts is None else cuts,
    )


def _read_look(file: Path) -> tuple[Look, Indices]:
    with _reading(file), np.load(file, allow_pickle=False) as found:
        borders = np.cumsum(found["sizes"])[:-1]
        segments, starts = (np.split(found[name], borders) for name in ("segments", "starts"))
        seen = Look(segments=tuple(segments), starts=tuple(tuple(s.tolist()) for s in starts))
        return seen, found["cuts"]


def _counts(settled: Settled, impossible: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """Pairs that people made one person, and two beyond the footage."""
    return int(settled.together.sum()) // 2, int((settled.apart & ~impossible).sum()) // 2


def _save_said(file: Path, settled: Settled) -> None:
    apart = np.argwhere(np.triu(settled.apart, 1))
    _save_arrays(file, group=settled.group, apart=apart, notes=np.array(settled.notes, dtype=np.str_))


def _read_said(file: Path, count: int) -> Settled:
    with _reading(file), np.load(file, allow_pickle=False) as found:
        apart = np.zeros((count, count), dtype=np.bool_)
        one, other = found["apart"].T
        apart[one, other] = apart[other, one] = True
        if found["group"].shape != (count,):
            raise ValueError(f"it is about {len(found['group'])} tracklets, not {count}")
        return Settled(group=found["group"], apart=apart, notes=tuple(found["notes"].tolist()))


def _read_clusters(file: Path, names: Sequence[str]) -> Clusters:
    with _reading(file), file.open(newline="", encoding="utf-8") as stream:
        person = {row["tracklet"]: int(row["person"]) for row in csv.DictReader(stream)}
        return Clusters(person=np.array([person[name] for name in names], dtype=np.int64))
