"""The searchable copy of a folder gallery in memory, which follows the database.

Readers never wait for a search: a `_State` is immutable. It is replaced when the database has changed, whichever
process or thread changed it: numbers of tracklets only ascend, so that what is new is found by number, and counters in
the table `revisions` tell of deletions, labels and axes.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from intraclip.gallery import axes, digests
from intraclip.gallery.digests import COVERED, Damage
from intraclip.gallery.folder_database import Connections, connect
from intraclip.gallery.records import Filters, GalleryInfo
from intraclip.gallery.store import Vectors

Mask = npt.NDArray[np.bool_]

SPARE = 32
"""Candidates beyond those wanted. Products in float32 may confuse neighbours; `Gallery` measures again exactly."""

GATHERED = 0.125
"""Share of passing vectors below which these are copied together instead of comparing all."""

SMALL = 1_024
"""Tracklets whose memory is not worth giving back."""

_NAMES = ("camera", "person", "source")
_COLUMNS = COVERED["tracklets"]
_COMPARED = {"<": np.less, "<=": np.less_equal, ">=": np.greater_equal, ">": np.greater}


@dataclass(frozen=True, kw_only=True, eq=False)
class _State:
    """The gallery at one moment; N tracklets, deleted ones among them.

    Attributes:
        columns: what filters and digests need, ``[N]`` each: ``number`` (ascending), ``alive`` (False for deleted
            ones, whose vectors are zero), ``digest`` (of the row), places of `_NAMES` in `codes`, and `_times`, NaN
            where unknown, which passes no comparison.
        vectors: float32 ``[N, D]``.
        lengths: float32 ``[N]``, squared.
        codes: of each of the names, text -> place.
        revisions: the counters when it was read.
        axes: float32 ``[D, R]``, for large galleries.
        short: float32 ``[N, R]``, the vectors along these.
    """

    columns: dict[str, npt.NDArray[Any]]
    vectors: Vectors
    lengths: npt.NDArray[np.float32]
    codes: dict[str, dict[str, int]]
    revisions: dict[str, int]
    axes: Vectors | None = None
    short: Vectors | None = None

    def passing(self, filters: Filters, numbers_of: dict[str, int]) -> Mask:
        """Which tracklets pass, bool ``[N]``; `numbers_of` knows the ids that the filters name."""
        mask: Mask = self.columns["alive"].copy()
        for name, texts, inside in filters.texts():
            found = self._among(texts, numbers_of) if name == "id" else self._named(name, texts)
            mask &= found if inside else ~found
        for name, sign, value in filters.times():
            mask &= _COMPARED[sign](self.columns[name], value)
        return mask

    def _among(self, ids: Iterable[str], numbers_of: dict[str, int]) -> Mask:
        there = self.columns["number"]
        mask = np.zeros(len(there), dtype=np.bool_)
        places = np.searchsorted(there, [numbers_of[i] for i in ids if i in numbers_of])
        inside = places < len(there)  # a newer one may have come since
        mask[places[inside]] = True
        return mask

    def _named(self, name: str, wanted: frozenset[str]) -> Mask:
        codes = self.codes[name]
        table = np.zeros(len(codes) + 1, dtype=np.bool_)
        table[[codes[text] for text in wanted if text in codes]] = True
        return np.asarray(table[self.columns[name]])


class Memory:
    """Follows a gallery's database, and searches."""

    def __init__(self, folder: Path, info: GalleryInfo, connections: Connections) -> None:
        self._info = info
        self._connections = connections
        self._following = threading.Lock()
        with connections.explained():
            self._db = connect(folder, read_only=True)
        self._seen = -1
        self._state: _State | None = None
        self._forget()

    def close(self) -> None:
        """Release the connection and the memory."""
        with self._following:
            self._db.close()
            self._state = None
            self._forget()

    def _forget(self) -> None:
        self._vectors, self._lengths, self._short = _Growing(self._info.dimension), _Growing(), _Growing(0)

    # -- searching -----------------------------------------------------------------------------------------

    def nearest(
        self, query: Vectors, *, k: int, filters: Filters
    ) -> tuple[npt.NDArray[np.int64], Vectors, bool]:
        """Candidates, see `Store.nearest`: their numbers in the database ``[K]``, vectors ``[K, D]``, and `exact`."""
        state, numbers_of = self._current(filters)
        passing = state.passing(filters, numbers_of)
        count = int(passing.sum())
        wanted = min(count, k + SPARE)
        exact = state.axes is None or state.short is None or count <= axes.KEPT
        if exact and count >= GATHERED * len(passing):
            scores = self._scores(state.vectors, state.lengths, query)
            scores[~passing] = np.inf
            places = _smallest(scores, wanted)
        else:
            shorter = max(axes.KEPT, wanted)
            places = np.flatnonzero(passing) if exact else self._shortlist(state, query, passing, shorter)
            scores = self._scores(state.vectors[places], state.lengths[places], query)
            places = places[_smallest(scores, wanted)]
        return state.columns["number"][places], state.vectors[places], exact

    def _shortlist(self, state: _State, query: Vectors, passing: Mask, count: int) -> npt.NDArray[np.int64]:
        """Places of the best by their products along the axes; whole lengths count, only products are cut short."""
        assert state.axes is not None
        assert state.short is not None
        scores = self._scores(state.short, state.lengths, query @ state.axes)
        scores[~passing] = np.inf
        return _smallest(scores, min(count, len(scores)))

    def _scores(self, vectors: Vectors, lengths: npt.NDArray[np.float32], query: Vectors) -> Vectors:
        """What orders ``[N, D]`` by distance from ``[D]``."""
        scores: Vectors = vectors @ query
        if self._info.metric == "cosine":
            return np.negative(scores, out=scores)
        scores *= -2
        scores += lengths
        return scores

    # -- following -----------------------------------------------------------------------------------------

    def _current(self, filters: Filters) -> tuple[_State, dict[str, int]]:
        """The state of now, and the numbers of the ids that the filters name."""
        named = sorted((filters.ids or frozenset()) | filters.exclude_ids)
        with self._following, self._connections.explained():
            version = self._db.execute("PRAGMA data_version").fetchone()[0]
            if self._state is None or version != self._seen:
                self._state = self._follow()
                self._seen = version
            found = self._db.execute(
                "SELECT id, number FROM tracklets WHERE id IN (SELECT value FROM json_each(?))",
                (json.dumps(named),),
            ).fetchall() if named else []  # fmt: skip
            return self._state, dict(found)

    def _follow(self) -> _State:
        self._db.execute("BEGIN")  # one moment for all that is read
        try:
            revisions = dict(self._db.execute("SELECT what, number FROM revisions"))
            old = self._state
            state = self._read_new(old, revisions)
            before = old.revisions if old is not None else {}
            if old is not None and revisions["deletions"] != before["deletions"]:
                state = self._without_deleted(state)
                if len(state.vectors) > SMALL and state.columns["alive"].mean() < 0.5:
                    old, before = None, {}  # to give the memory of what was deleted back
                    state = self._read_new(None, revisions)
            if old is not None and revisions["people"] != before["people"]:
                state = self._relabelled(state)
            written = state.columns["digest"][state.columns["alive"]]
            digests.require_total(self._db, "tracklets", len(written), int(written.sum()))
            return self._shortened(state, changed=revisions["axes"] != before.get("axes"))
        except BaseException:
            self._state = None  # the buffers may hold vectors that no state knows
            raise
        finally:
            self._db.execute("COMMIT")

    def _read_new(self, old: _State | None, revisions: dict[str, int]) -> _State:
        last = int(old.columns["number"].max(initial=0)) if old is not None else 0
        if old is None:
            self._forget()
        rows = self._db.execute(
            f"SELECT {', '.join(_COLUMNS)}, digest FROM tracklets WHERE number > ? ORDER BY number", (last,)
        ).fetchall()
        digests.require_rows("tracklets", rows)
        names = (*_COLUMNS, "digest")
        read = dict(zip(names, zip(*rows, strict=True) if rows else [()] * len(names), strict=True))
        codes = {n: dict(old.codes[n]) if old is not None else {} for n in _NAMES}
        columns = {
            "number": np.array(read["number"], dtype=np.int64),
            "alive": np.ones(len(rows), dtype=np.bool_),
            "digest": np.array(read["digest"], dtype=np.int64),
            **{n: _coded(read[n], codes[n]) for n in _NAMES},
            **_times(read),
        }
        self._vectors.reserve(len(rows))
        cursor = self._db.execute(
            "SELECT number, vector FROM vectors WHERE number > ? ORDER BY number", (last,)
        )
        done = 0
        while batch := cursor.fetchmany(digests.FETCH):
            for place, (number, blob) in enumerate(batch, start=done):
                if place >= len(rows) or number != read["number"][place]:
                    raise Damage(f"its table of vectors: number {number} belongs to no tracklet")
                if digests.bytes_digest([blob]) != read["vector_digest"][place]:
                    raise Damage(f"the vector of tracklet {read['id'][place]!r}")
            done += len(batch)
            new = np.frombuffer(b"".join(blob for _, blob in batch), dtype=np.float32).reshape(len(batch), -1)
            self._vectors.append(new)
            self._lengths.append(np.einsum("nd,nd->n", new, new))
        if done != len(rows):
            raise Damage(f"its table of vectors: {done:,} can be read for {len(rows):,} tracklets")
        if old is not None:
            columns = {n: np.concatenate([old.columns[n], new_ones]) for n, new_ones in columns.items()}
        return _State(
            columns=columns,
            vectors=self._vectors.view(),
            lengths=self._lengths.view(),
            codes=codes,
            revisions=revisions,
            axes=old.axes if old else None,
        )

    def _without_deleted(self, state: _State) -> _State:
        there = np.fromiter((n for (n,) in self._db.execute("SELECT number FROM tracklets")), dtype=np.int64)
        alive = np.isin(state.columns["number"], there, assume_unique=True)
        # Forgotten in memory too. A search under way may see zeros; it then finds no record of that tracklet.
        gone = np.flatnonzero(state.columns["alive"] & ~alive)
        state.vectors[gone] = 0
        short = self._short.view()
        short[gone[gone < len(short)]] = 0
        return replace(state, columns={**state.columns, "alive": alive})

    def _relabelled(self, state: _State) -> _State:
        rows = self._db.execute("SELECT number, person, digest FROM tracklets ORDER BY number").fetchall()
        there = np.searchsorted(state.columns["number"], [number for number, _, _ in rows])
        written, people = state.columns["digest"].copy(), state.columns["person"].copy()
        written[there] = [digest for _, _, digest in rows]
        changed = state.columns["number"][written != state.columns["digest"]].tolist()
        new = self._db.execute(
            f"SELECT {', '.join(_COLUMNS)}, digest FROM tracklets WHERE number IN (SELECT value FROM json_each(?))",
            (json.dumps(changed),),
        )
        digests.require_rows("tracklets", new)
        codes = dict(state.codes["person"])
        people[there] = _coded([person for _, person, _ in rows], codes)
        return replace(
            state,
            columns={**state.columns, "person": people, "digest": written},
            codes={**state.codes, "person": codes},
        )

    def _shortened(self, state: _State, *, changed: bool) -> _State:
        """The state with the vectors along the axes of the database."""
        if changed:
            rows = digests.verified(self._db, "axes")
            matrix = np.frombuffer(rows[0][2], np.float32).reshape(-1, rows[0][1]) if rows else None
            state = replace(state, axes=matrix)
            self._short = _Growing(rows[0][1] if rows else 0)
        if state.axes is None:
            return state
        done = len(self._short.view())
        if done < len(state.vectors):
            self._short.append(axes.project(state.vectors[done:], state.axes))
        return replace(state, short=self._short.view())

    # -- the index -----------------------------------------------------------------------------------------

    def build_index(self) -> str:
        """See `Store.build_index`."""
        state, _ = self._current(Filters())
        alive = np.flatnonzero(state.columns["alive"])
        with self._connections.read() as db:
            made = db.execute("SELECT made_for, count FROM axes").fetchone()
        if not axes.worth_it(len(alive), self._info.dimension):
            return axes.describe(made[1] if made else 0)
        if made is None or len(alive) >= axes.GROWTH * made[0]:
            matrix = axes.principal_axes(state.vectors, alive, np.random.default_rng(0))
            made = len(alive), matrix.shape[1]
            with self._connections.write() as db:
                db.execute("DELETE FROM axes")
                digests.insert(db, "axes", (*made, matrix.tobytes()))
                db.execute("UPDATE revisions SET number = number + 1 WHERE what = 'axes'")
        return axes.describe(made[1])


class _Growing:
    """Rows in one array with room to grow; views of the filled part stay valid."""

    def __init__(self, *row: int) -> None:
        self._array = np.empty((0, *row), dtype=np.float32)
        self._count = 0

    def view(self) -> Vectors:
        """The filled part, ``[N, ...]``."""
        return self._array[: self._count]

    def reserve(self, more: int) -> None:
        """Make room. Memory that is never written costs nothing, so there is always a third to spare."""
        needed = self._count + more
        if needed > len(self._array):
            larger = np.empty((max(needed + needed // 3, 1024), *self._array.shape[1:]), dtype=np.float32)
            larger[: self._count] = self.view()
            self._array = larger

    def append(self, rows: Vectors) -> None:
        """Add rows at the end."""
        self.reserve(len(rows))
        self._array[self._count : self._count + len(rows)] = rows
        self._count += len(rows)


def _smallest(scores: Vectors, count: int) -> npt.NDArray[np.int64]:
    """Places of the `count` smallest scores, in any order."""
    if count >= len(scores):
        return np.arange(len(scores))
    return np.argpartition(scores, count)[:count] if count else np.zeros(0, np.int64)


def _coded(texts: Iterable[str], codes: dict[str, int]) -> npt.NDArray[np.int32]:
    """Places of texts in `codes`, where new ones are added."""
    return np.array([codes.setdefault(text, len(codes)) for text in texts], dtype=np.int32)


def _times(columns: Mapping[str, Sequence[Any]]) -> dict[str, npt.NDArray[np.float64]]:
    """What filters compare, float64 ``[N]``, of columns of the table of tracklets; see `Filters.times`."""
    start, end, started_at, added_at = (
        np.array(columns[n], dtype=np.float64) for n in ("start_s", "end_s", "started_at", "added_at")
    )
    length = end - start
    return {
        "first_s": np.where(np.isnan(start), end, start),
        "last_s": np.where(np.isnan(end), start, end),
        "started_at": started_at,
        "last_at": started_at + np.where(np.isnan(length), 0, length),
        "seen_at": np.fmin(started_at, added_at),
    }
