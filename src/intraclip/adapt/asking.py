"""Asking a person, one question after another: what is kept, and where (docs/adapt.md, "A person in the loop").

The run folder's ``answers.csv`` has every answer that was given to it, in order, beside what a gallery keeps. Either is
written before the next question is chosen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from intraclip.adapt.answers import Settled, keep, labels_of, settle, take_back, unsure_of
from intraclip.adapt.clusters import likeness
from intraclip.adapt.footage import Footage
from intraclip.adapt.questions import NO_DOUBT, next_question, pairs_of
from intraclip.errors import DataError
from intraclip.gallery.answers import UNSURE, Answer, judgements_of, read_answers, write_answers
from intraclip.gallery.gallery import Gallery
from intraclip.gallery.store import Vectors
from intraclip.types import Tracklet

Reply = Literal["same", "different", "unsure", "undo", "enough"]
"""What a person says to a question: an answer, that the last one be taken back, or that it is enough."""

ACTIONS = {"same": "confirm", "different": "reject", "unsure": "unsure"}
"""Answers as the gallery's audit log calls them."""

ORIGIN = "adapt"
"""Where the answers come from, in that log."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """A question as a person gets it: is it the same person?

    Attributes:
        number: from 1.
        of: questions in all.
        times: seconds of first and last frame of both, float64 ``[2, 2]``, NaN where unknown.
        pairs: of tracklets that the answer may join or part.
    """

    number: int
    of: int
    query: Tracklet
    tracklet: Tracklet
    times: npt.NDArray[np.float64]
    pairs: int


Responder = Callable[[Asked], Reply]


@dataclass(eq=False)
class Asking:
    """What was said about a site's tracklets, and what to ask next.

    With a gallery, answers that are given from elsewhere are kept there, unless it knows the pair already.

    Raises:
        DataError: the gallery holds none of these tracklets, or an answer is about one that is not there.
        OutputError: the run's answers are damaged, or the gallery cannot be written.
    """

    footage: Footage
    impossible: npt.NDArray[np.bool_]
    file: Path
    gallery: Gallery | None = None
    given: Sequence[Answer] = ()
    by: str = ""

    def __post_init__(self) -> None:
        self.answers = read_answers(self.file) if self.file.is_file() else []
        self.names, self.labels = [t.name for t in self.footage.tracklets], dict[str, str]()
        if self.gallery is not None:
            self.names, self.labels = _ids(self.footage, self.gallery), labels_of(self.gallery)
            self._import(self.gallery)

    def settled(self) -> Settled:
        """All that is certain now."""
        own = judgements_of([*self.given, *self.answers])
        said = own if self.gallery is None else self.gallery.judgements()
        return settle(self.impossible, self.names, said, self.labels)

    def ask(self, vectors: Vectors, count: int, responder: Responder, say: Callable[[str], None]) -> None:
        """Ask until `count` answers were given to this run, nothing is worth asking, or it is enough.

        `say` is told in sentences what the person should know.
        """
        scores = likeness(vectors, self.footage.camids)
        askable = np.array([bool(name) for name in self.names])
        told: tuple[str, ...] = ()
        while len(self.answers) < count:
            settled = self.settled()
            if settled.notes != told:
                told = settled.notes
                for note in told:
                    say(note)
            found = next_question(
                scores,
                settled,
                askable=askable,
                unsure=pairs_of(self._unsure(), self.names),
                asked=pairs_of([(a.query, a.tracklet) for a in self.answers], self.names),
            )
            if found is None:
                more = " more" if self.answers else ""
                say(f"nothing{more} is worth asking: {NO_DOUBT}")
                return
            two = self.footage.take([found.a, found.b])
            asked = Asked(
                number=len(self.answers) + 1,
                of=count,
                query=two.tracklets[0],
                tracklet=two.tracklets[1],
                times=np.full((2, 2), np.nan) if two.times is None else two.times,
                pairs=found.pairs,
            )
            reply = responder(asked)
            if reply == "enough":
                return
            if reply == "undo":
                self._undo(say)
                continue
            try:
                self._take(self.names[found.a], self.names[found.b], reply)
            except DataError as error:
                there = {} if self.gallery is None else self.gallery.find(self.names)
                if self.gallery is None or {self.names[found.a], self.names[found.b]} <= there.keys():
                    raise
                say(f"{error}: deleted meanwhile; the question is left out")
                askable &= np.array([name in there for name in self.names])

    def _take(self, query: str, tracklet: str, answer: str) -> None:
        said = Answer(query=query, tracklet=tracklet, answer=answer, by=self.by, at=time.time())
        if self.gallery is not None:
            _keep(self.gallery, said)
        self.answers.append(said)
        write_answers(self.file, self.answers)

    def _undo(self, say: Callable[[str], None]) -> None:
        if not self.answers:
            say("there is no answer to take back")
            return
        last = self.answers[-1]
        if self.gallery is not None:
            self.gallery.audit(
                "retract", {"query": last.query, "tracklet": last.tracklet}, actor=self.by, origin=ORIGIN
            )
            take_back(self.gallery, last.query, last.tracklet)
        self.answers.pop()
        write_answers(self.file, self.answers)

    def _unsure(self) -> list[tuple[str, str]]:
        own = [(a.query, a.tracklet) for a in [*self.given, *self.answers] if a.answer == UNSURE]
        return own if self.gallery is None else [*own, *unsure_of(self.gallery)]

    def _import(self, gallery: Gallery) -> None:
        ids = sorted({name for a in self.given for name in (a.query, a.tracklet)})
        missing = sorted(set(ids) - gallery.find(ids).keys())
        if missing:
            raise DataError(
                f"{len(missing)} of the {len(ids)} tracklets that the answers are about are not in the gallery "
                f"{gallery.info.address}, such as {missing[0]}; nothing was kept: take their lines out"
            )
        known = {frozenset((j.query, j.tracklet)) for j in gallery.judgements()}
        known |= {frozenset(pair) for pair in unsure_of(gallery)}
        for a in self.given:
            if frozenset((a.query, a.tracklet)) not in known:
                _keep(gallery, replace(a, by=a.by or self.by))


def _keep(gallery: Gallery, said: Answer) -> None:
    pair = {"query": said.query, "tracklet": said.tracklet}
    gallery.audit(ACTIONS[said.answer], pair, actor=said.by, origin=ORIGIN)
    keep(gallery, said.query, said.tracklet, said.answer, by=said.by)


def _ids(footage: Footage, gallery: Gallery) -> list[str]:
    """What the tracklets are called in a gallery; empty for those that it does not hold, such as cut ones."""
    # Tracklets of several folders are called 1/name; the gallery may know them by their own names.
    names = [(t.name, t.name.partition("/")[2]) for t in footage.tracklets]
    there = gallery.find([name for pair in names for name in pair if name])
    found = [next((name for name in pair if name in there), "") for pair in names]
    if not any(found):
        raise DataError(
            f"none of the {len(footage)} tracklets of {footage.root}, such as {footage.tracklets[0].name}, is in the "
            f"gallery {gallery.info.address}; name the gallery that was made from them"
        )
    return [name if found.count(name) == 1 else "" for name in found]
