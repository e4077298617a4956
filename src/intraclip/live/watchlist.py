"""Who is looked for, and how alike a tracklet must be to count as them.

The watch-list lies in the gallery, as papers (`intraclip.gallery.papers`): a person on it is some of the gallery's own
tracklets, so that deleting these deletes the person from the list, and what people say of an alert is a judgement like
any other.

**The threshold.** Somebody on the list comes with a false-match rate: the share of strangers' tracklets that may pass
for them. The gallery's calibration says which distance keeps it. With m tracklets of the person the nearest counts, and
each gets the rate divided by m, which keeps the promise whatever they have in common (Boole's inequality).

**What alerts teach.** A calibration was learned elsewhere; here strangers may pass more often or less. The factor f
between the two rates is estimated from what was said of the alerts: the number of false ones is Poisson with mean f E,
where E is how many the calibration expects among all tracklets that were compared. With a Gamma prior of mean 1 and
shape `PRIOR_ALERTS`, its posterior mean is (`PRIOR_ALERTS` + rejected) / (`PRIOR_ALERTS` + E); alerts that nobody
judged count as rejected in the proportion of the judged ones. The rate is divided by f. Besides, a confirmed alert's
tracklet becomes one of the person's own, and nobody alerts who is nearer to a rejected one than to any of these.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from intraclip.data.in_memory import ArrayTracklet
from intraclip.errors import ConfigError, DataError
from intraclip.gallery.gallery import Gallery
from intraclip.gallery.records import Judgement, TrackletRecord, check_name
from intraclip.live.alerts import Alerts

if TYPE_CHECKING:
    from intraclip.embed.network import Network
    from intraclip.metrics.match_probability import MatchCalibration

PRIOR_ALERTS = 4.0
"""So many false alerts as expected would say as much about the factor as the calibration itself does."""

LEAST_FACTOR, MOST_FACTOR = 0.25, 100.0
"""Of the learned factor."""

MOST_TRACKLETS = 16
"""Of one person that count; of more, those added or confirmed last."""

CAMERA = "watch-list"
"""Camera of tracklets that were made of pictures for the watch-list."""

WATCH, COMPARED = "watch", "compared"
"""Kinds of papers: a person on the list; and how many tracklets were compared with them."""

RAISED = "alerts"
"""Key of the second kind, which those of earlier versions lack: alerts that were raised, also those that are deleted,
as the tracklets of these stay counted as compared."""

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A person on the watch-list.

    Attributes:
        name: for people; may be empty.
        rate: share of strangers' tracklets that may pass as this person, inside (0, 1).
        added_at: Unix seconds.
        tracklets: of the gallery that show the person, as they were put on the list.
    """

    id: str
    name: str
    rate: float
    added_at: float
    tracklets: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What was learned about somebody on the list.

    Attributes:
        compared: tracklets that were compared with the person.
        expected: false alerts that the calibration expects among them.
        alerts: alerts there were, also those that are deleted.
        confirmed: of these, those that people confirmed.
        rejected: of these, those that people rejected.
        factor: strangers pass so many times as often as the calibration says; 1 while nobody has judged anything.
    """

    compared: int
    expected: float
    alerts: int
    confirmed: int
    rejected: int
    factor: float


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A tracklet that passes as somebody on the list.

    Attributes:
        reference: the tracklet of the person that is nearest.
        distance: to it, in the gallery's metric.
        threshold: below which it passes.
        probability: that both show one person, by the calibration.
    """

    watched: Watched
    reference: str
    distance: float
    threshold: float
    probability: float


def factor_of(*, expected: float, alerts: int, confirmed: int, rejected: int) -> float:
    """How many times as often strangers pass as the calibration says; see the module.

    >>> factor_of(expected=4, alerts=10, confirmed=0, rejected=0)
    1.0
    >>> factor_of(expected=4, alerts=12, confirmed=0, rejected=12)
    2.0
    """
    judged = confirmed + rejected
    if not judged:
        return 1.0
    false = rejected * max(alerts, judged) / judged
    return float(np.clip((PRIOR_ALERTS + false) / (PRIOR_ALERTS + expected), LEAST_FACTOR, MOST_FACTOR))


class WatchList:
    """The people of a gallery's watch-list; a view that is read anew when it may have changed."""

    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery

    # -- the list ------------------------------------------------------------------------------------------

    def people(self) -> list[Watched]:
        """Everybody on it, in the order they were put there."""
        return [
            Watched(
                id=key,
                tracklets=tuple(found["tracklets"]),
                **{n: found[n] for n in ("name", "rate", "added_at")},
            )
            for key, found in self._gallery.papers(WATCH).items()
        ]

    def person(self, key: str) -> Watched:
        """One of them, by id or by name.

        Raises:
            DataError: nobody is called so, or several are.
        """
        people = self.people()
        found = [p for p in people if p.id == key] or [p for p in people if p.name == key]
        if len(found) != 1:
            what = "several people of the watch-list are" if found else "nobody on the watch-list is"
            raise DataError(f"{what} called {key!r}; `intraclip alerts watched` shows their numbers")
        return found[0]

    def add(self, tracklets: Sequence[str], *, rate: float, name: str = "") -> Watched:
        """Put a person on the list, by tracklets of the gallery that show them, at a false-match rate.

        Raises:
            ConfigError: the gallery has no calibration, or none that resolves this rate.
            DataError: no tracklet, one that is not there, a name that is none, or just these tracklets are on the list
                under this name already.
        """
        check_name(name, what="the name on the watch-list")
        chosen = tuple(dict.fromkeys(tracklets))
        for person in self.people():
            if person.name == name and set(person.tracklets) == set(chosen):
                raise DataError(
                    f"these tracklets are on the watch-list already, as number {person.id}; every match would be told "
                    "twice. For another rate take them off first, with `intraclip alerts unwatch`"
                )
        if not chosen:
            raise DataError("name at least one tracklet that shows the person")
        if len(chosen) > MOST_TRACKLETS:
            raise DataError(
                f"{len(chosen)} tracklets of one person; at most {MOST_TRACKLETS} are compared, name the best"
            )
        self.calibration().threshold(rate)
        now = time.time()
        content = {"name": name, "rate": rate, "added_at": now}
        key = self._gallery.add_paper(WATCH, self._next_key, content, chosen, needs_all=False)
        return Watched(id=key, name=name, rate=rate, added_at=now, tracklets=chosen)

    def _next_key(self) -> str:
        # Not that of somebody who was taken off while alerts remain: these would count as the new person's.
        taken = {*self._gallery.papers(WATCH), *self._gallery.papers(COMPARED)}
        taken |= {alert.watched for alert in Alerts(self._gallery).each()}
        return f"{max(map(int, taken), default=0) + 1:04d}"

    def remove(self, key: str) -> None:
        """Take a person off the list; the tracklets and the alerts stay.

        Raises:
            DataError: as `person`.
        """
        found = self.person(key)
        self._gallery.drop_paper(WATCH, found.id)
        self._gallery.drop_paper(COMPARED, found.id)

    def kept_tracklets(self) -> frozenset[str]:
        """All tracklets that people on the list were put there with: what retention spares while they are on it."""
        return frozenset(t for person in self.people() for t in person.tracklets)

    def calibration(self) -> MatchCalibration:
        """The gallery's.

        Raises:
            ConfigError: it has none.
        """
        found = self._gallery.calibration()
        if found is None:
            raise ConfigError(
                f"a watch-list needs a calibration, and the gallery {self._gallery.info.address} has none; make one "
                "with `intraclip gallery calibrate`"
            )
        return found

    def with_learned(self) -> list[tuple[Watched, Learned]]:
        """Everybody on the list, with what was learned."""
        learned = self.learned()
        return [(person, learned[person.id]) for person in self.people() if person.id in learned]

    # -- what was learned ----------------------------------------------------------------------------------

    def learned(self) -> dict[str, Learned]:
        """What was compared with everybody on the list, and what people said of the alerts, by id."""
        compared = self._gallery.papers(COMPARED)
        said: dict[str, Counter[bool | None]] = defaultdict(Counter)
        # There may be very many: they are read where something was said of one of them, or where nobody counted them.
        if self._gallery.judgements() or any(RAISED not in counted for counted in compared.values()):
            for alert in Alerts(self._gallery).each():
                said[alert.watched][alert.said] += 1
        found = {}
        for person in self.people():
            counted, of_alerts = compared.get(person.id, {}), said[person.id]
            expected = float(counted.get("expected", 0.0))
            counts = {
                "alerts": int(counted.get(RAISED, of_alerts.total())),
                "confirmed": of_alerts[True],
                "rejected": of_alerts[False],
            }
            found[person.id] = Learned(
                compared=int(counted.get("compared", 0)),
                expected=expected,
                factor=factor_of(expected=expected, **counts),
                **counts,
            )
        return found


@dataclass(frozen=True, kw_only=True)
class _Reading:
    """One person as the matcher holds them."""

    person: Watched
    own: tuple[str, ...]
    own_vectors: Vector
    others: Vector
    threshold: float
    chance: float


def add_pictures(gallery: Gallery, network: Network, pictures: Sequence[npt.NDArray[np.uint8]]) -> str:
    """Keep pictures ``[h, w, 3]`` (RGB, cut out) of a person as a tracklet of the gallery, for the watch-list; its id.

    It belongs to a camera of its own, `CAMERA`: alerts show the pictures, deletion finds them, and retention too, once
    the person is off the list.

    Raises:
        DataError: no pictures, or the gallery is another network's.
    """
    gallery.require_fingerprint(network.fingerprint)
    from intraclip.gallery.pictures import pictures_of  # loads OpenCV

    vectors = network.embed([list(pictures)]).features
    name = f"watch_{int(1000 * time.time())}"
    record = TrackletRecord(id=name, camera=CAMERA, num_frames=len(pictures), source="pictures")
    clip = ArrayTracklet.of(list(pictures), name=name)
    gallery.add([record], vectors, fingerprint=network.fingerprint, pictures=[pictures_of(clip)])
    return name


class Matcher:
    """Compares tracklets with everybody on the list, which is read again every few seconds: others may change it."""

    def __init__(self, gallery: Gallery, *, every_s: float = 2.0) -> None:
        self._gallery = gallery
        self._list = WatchList(gallery)
        self._every_s = every_s
        self._next = 0.0
        self._lock = threading.Lock()
        self._people: list[_Reading] = []
        # What came since it was kept last, by person; as the papers have it.
        self._counts: dict[str, dict[str, float]] = defaultdict(
            lambda: {"compared": 0, "expected": 0.0, RAISED: 0}
        )

    def match(self, tracklet: str, vector: Vector) -> list[Hit]:
        """Everybody on the list as whom a tracklet ``[D]`` passes; one of theirs is not compared with them."""
        with self._lock:
            if time.monotonic() >= self._next:
                self.read()
        hits = []
        for found in self._people:
            if tracklet in found.own:
                continue
            counted = self._counts[found.person.id]
            counted["compared"] += 1
            counted["expected"] += found.chance
            distances = self._gallery.distances(vector, found.own_vectors)
            nearest = int(np.argmin(distances))
            if distances[nearest] >= found.threshold:
                continue
            if len(found.others) and self._gallery.distances(vector, found.others).min() < distances[nearest]:
                continue
            calibration = self._list.calibration()
            hits.append(
                Hit(
                    watched=found.person,
                    reference=found.own[nearest],
                    distance=float(distances[nearest]),
                    threshold=found.threshold,
                    probability=float(calibration.probability(distances[nearest])),
                )
            )
        return hits

    def read(self) -> None:
        """Read the list, and what was said since."""
        begun = time.monotonic()
        self._fill()
        # Never more than a small share of the time, however many alerts there are.
        self._next = time.monotonic() + max(self._every_s, 20 * (time.monotonic() - begun))

    def _fill(self) -> None:
        people = self._list.people()
        calibration = self._gallery.calibration()
        if calibration is None or not people:
            self._people = []
            return
        judgements, learned = self._gallery.judgements(), self._list.learned()
        found = []
        for person in people:
            names, others = _shown(person, judgements)
            try:
                own_vectors, other_vectors = self._gallery.vectors(names), self._gallery.vectors(others)
            except DataError:  # deleted just now: the next reading knows
                continue
            factor = learned[person.id].factor if person.id in learned else 1.0
            rate = min(max(person.rate / factor / len(names), calibration.false_match_rates[-1]), 0.5)
            found.append(
                _Reading(
                    person=person,
                    own=tuple(names),
                    own_vectors=own_vectors,
                    others=other_vectors,
                    threshold=calibration.threshold(rate),
                    # As the calibration has it, before anything was learned here.
                    chance=min(rate * len(names), 1.0),
                )
            )
        self._people = found

    def alerted(self, hit: Hit) -> None:
        """An alert was raised for a hit."""
        self._counts[hit.watched.id][RAISED] += 1

    def save(self) -> None:
        """Add what came since the last time to what the gallery keeps: now and then, as each time costs a sync."""
        there = {person.id: person for person in self._list.people()}
        kept = self._gallery.papers(COMPARED)
        for key in list(self._counts):
            if key not in there:
                del self._counts[key]
                continue
            before = kept.get(key, {"compared": 0, "expected": 0.0, RAISED: 0})
            content = {name: before.get(name, 0) + count for name, count in self._counts[key].items()}
            if RAISED not in before:
                content[RAISED] = sum(alert.watched == key for alert in Alerts(self._gallery).each())
            self._gallery.put_paper(COMPARED, key, content, there[key].tracklets, needs_all=False)
            del self._counts[key]  # not before it is kept: the disk may be full


def _shown(person: Watched, judgements: Sequence[Judgement]) -> tuple[list[str], list[str]]:
    """Tracklets that show a person, by the list and by what was confirmed since; and those that were rejected."""
    own = set(person.tracklets)
    for j in judgements:  # in order of time: what was confirmed may be what the next one was compared with
        if j.same and (j.query in own or j.tracklet in own):
            own |= {j.query, j.tracklet}
    confirmed = [t for j in judgements if j.same for t in (j.query, j.tracklet) if t in own]
    later = [t for t in dict.fromkeys(reversed(confirmed)) if t not in person.tracklets]
    names = [*person.tracklets, *later[: MOST_TRACKLETS - len(person.tracklets)]]
    others = {
        t
        for j in judgements
        if not j.same and (j.query in own) != (j.tracklet in own)
        for t in (j.query, j.tracklet)
    }
    return names, sorted(others - own)
