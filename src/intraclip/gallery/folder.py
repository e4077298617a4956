"""A gallery in a folder: SQLite keeps everything, searches run in memory."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from sqlite3 import Connection, DatabaseError, IntegrityError
from typing import Any

import numpy as np

from intraclip.core.locks import locked
from intraclip.errors import DamagedError, DataError
from intraclip.gallery import axes, digests
from intraclip.gallery.digests import COVERED, Damage
from intraclip.gallery.folder_database import (
    Connections,
    DiskFullError,
    create_file,
    discard_file,
    read_info,
)
from intraclip.gallery.folder_files import LINKING, is_unfinished
from intraclip.gallery.folder_memory import Memory
from intraclip.gallery.papers import is_paper, tracklets_of, without
from intraclip.gallery.records import (
    AuditEntry,
    Box,
    Counts,
    Filters,
    GalleryInfo,
    Judgement,
    Pictures,
    TrackletRecord,
)
from intraclip.gallery.store import Brief, Nearest, Removed, Store, Vectors

_COLUMNS = COVERED["tracklets"]
_SELECT = f"SELECT {', '.join(_COLUMNS)}, digest, boxes FROM tracklets"
_IDS = "id IN (SELECT value FROM json_each(?))"
"""Any number of ids in one parameter; SQLite limits the number of parameters."""


def create_store(info: GalleryInfo) -> FolderStore:
    """Create an empty gallery in a folder."""
    create_file(info)
    return open_store(info.address)


def open_store(address: str) -> FolderStore:
    """Open the gallery in a folder."""
    return FolderStore(Path(address), read_info(Path(address)))


def is_taken(address: str) -> bool:
    """Whether a folder holds anything that must not be written over."""
    return not is_unfinished(Path(address))


class FolderStore(Store):
    """A `Store` in a folder."""

    def __init__(self, folder: Path, info: GalleryInfo) -> None:
        self.info = info
        self._folder = folder
        self._connections = Connections(folder)
        self._memory = Memory(folder, info, self._connections)
        self._verifying = threading.Lock()
        self._verified = False

    def close(self) -> None:
        self._memory.close()
        self._connections.close()

    # -- writing -------------------------------------------------------------------------------------------

    def insert(
        self, records: Sequence[TrackletRecord], vectors: Vectors, pictures: Sequence[Pictures]
    ) -> None:
        with self._connections.write() as db:
            row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'tracklets'").fetchone()
            first = 1 + (row[0] if row else 0)
            try:
                for number, (record, vector, shown) in enumerate(
                    zip(records, vectors, pictures, strict=True), start=first
                ):
                    _insert(db, number, record, vector.tobytes(), shown)
            except IntegrityError:
                # `Gallery` looked before; another process was quicker.
                raise DataError(
                    f"one of the {len(records)} tracklets was added to the gallery {self._folder} by somebody else "
                    "just now; nothing was added, add them again"
                ) from None

    def remove(self, ids: Sequence[str], *, dry_run: bool) -> Removed:
        self._verify()
        if dry_run or not ids:
            with self._connections.snapshot() as db:
                pictures, judgements = _belonging(db, ids)
            return Removed(pictures, judgements, True, "")
        try:
            (pictures, judgements), complete = self._connections.forget(lambda db: _delete(db, ids))
        except DiskFullError:
            if len(ids) == 1:
                raise
            # The log of a large deletion needs more room than there is; after each part it is empty again.
            half = len(ids) // 2
            parts = [self.remove(ids[:half], dry_run=False), self.remove(ids[half:], dry_run=False)]
            pictures, judgements = sum(p.pictures for p in parts), sum(p.judgements for p in parts)
            complete = all(p.complete for p in parts)
        note = "" if complete else (
            "another process was still reading the older state; the write-ahead log keeps the bytes until the next "
            "change or until the last process closes the gallery"
        )  # fmt: skip
        return Removed(pictures, judgements, complete, note)

    def set_person(self, ids: Sequence[str], person: str) -> None:

        def work(db: Connection) -> None:
            values = (json.dumps(list(ids)),)
            db.execute(f"UPDATE tracklets SET person = ? WHERE {_IDS}", (person, *values))
            digests.sign(db, "tracklets", _IDS, values)
            _bump(db, "people")

        self._connections.forget(work)

    def put_judgement(self, judgement: Judgement) -> None:

        def work(db: Connection) -> None:
            a, b = self._numbers(db, judgement.query, judgement.tracklet)
            _drop_judgement(db, a, b)
            digests.insert(db, "judgements", (a, b, int(judgement.same), judgement.by, _real(judgement.at)))

        self._connections.forget(work)

    def drop_judgement(self, query: str, tracklet: str) -> bool:
        dropped, _ = self._connections.forget(
            lambda db: _drop_judgement(db, *self._numbers(db, query, tracklet))
        )
        return dropped

    def _numbers(self, db: Connection, *ids: str) -> list[int]:
        found = dict(db.execute(f"SELECT id, number FROM tracklets WHERE {_IDS}", (json.dumps(ids),)))
        missing = [i for i in ids if i not in found]
        if missing:
            raise DataError(f"the gallery {self._folder} has no tracklets {', '.join(missing)}")
        return [found[i] for i in ids]

    def append_audit(self, entry: AuditEntry, *, essential: bool) -> None:

        def work(db: Connection) -> None:
            row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'audit'").fetchone()
            detail = json.dumps(entry.detail)
            number = 1 + (row[0] if row else 0)
            digests.insert(
                db, "audit", (number, _real(entry.at), entry.action, entry.actor, entry.origin, detail)
            )

        if essential:
            self._connections.forget(work)
        else:
            with self._connections.write() as db:
                work(db)

    def put_document(self, name: str, text: str | None) -> None:
        self._connections.forget(partial(self._put_document, name, text))

    def add_document(self, name: str, text: str) -> bool:
        with self._connections.write() as db:
            if db.execute("SELECT 1 FROM documents WHERE name = ?", (name,)).fetchone() is not None:
                return False
            self._put_document(name, text, db)
        return True

    def _put_document(self, name: str, text: str | None, db: Connection) -> None:
        if text is not None and is_paper(name):
            self._numbers(db, *tracklets_of(text))  # one may have been deleted just now
        db.execute("DELETE FROM documents WHERE name = ?", (name,))
        if text is not None:
            digests.insert(db, "documents", (name, text))

    # -- reading -------------------------------------------------------------------------------------------

    def records(self, ids: Sequence[str]) -> dict[str, TrackletRecord]:
        with self._connections.read() as db:
            rows = db.execute(f"{_SELECT} WHERE {_IDS}", (json.dumps(list(ids)),)).fetchall()
            found = {record.id: record for record in map(_record, rows)}
        if not found.keys() >= set(ids):
            self._verify()
        return found

    def vectors(self, ids: Sequence[str]) -> dict[str, Vectors]:
        with self._connections.read() as db:
            rows = db.execute(
                f"SELECT id, vector, vector_digest FROM tracklets LEFT JOIN vectors USING (number) WHERE {_IDS}",
                (json.dumps(list(ids)),),
            ).fetchall()
            for name, vector, written in rows:
                if vector is None or digests.bytes_digest([vector]) != written:
                    raise Damage(f"the vector of tracklet {name!r}")
        if len(rows) < len(set(ids)):
            self._verify()
        return {name: np.frombuffer(vector, dtype=np.float32) for name, vector, _ in rows}

    def pictures(self, tracklet: str) -> Pictures:
        with self._connections.snapshot() as db:
            rows = db.execute(f"{_SELECT} WHERE id = ?", (tracklet,)).fetchall()
            for row in rows:
                return _pictures(db, row)
        self._verify()
        return Pictures()

    def nearest(self, query: Vectors, *, k: int, filters: Filters) -> Nearest:
        numbers, vectors, exact = self._memory.nearest(query, k=k, filters=filters)
        with self._connections.read() as db:
            # Without boxes, and no records are made: most candidates are none of the answers.
            rows = db.execute(
                f"SELECT {', '.join(_COLUMNS)}, digest FROM tracklets "
                "WHERE number IN (SELECT value FROM json_each(?))",
                (json.dumps(numbers.tolist()),),
            ).fetchall()
            digests.require_rows("tracklets", rows)
            names = {row[0]: row[1] for row in rows}
        if len(names) < len(numbers):  # deleted meanwhile, or so it seems
            self._verify()
        there = [i for i, number in enumerate(numbers.tolist()) if number in names]
        return Nearest([names[int(numbers[i])] for i in there], vectors[there], exact)

    def page(self, filters: Filters, *, limit: int, after: str) -> list[TrackletRecord]:
        self._verify()
        condition, values = where(filters)
        with self._connections.read() as db:
            rows = db.execute(
                f"{_SELECT} WHERE id > ? AND {condition} ORDER BY id LIMIT ?", (after, *values, limit)
            ).fetchall()
            return [_record(row) for row in rows]

    def select(self, filters: Filters) -> list[Brief]:
        self._verify()
        condition, values = where(filters)
        with self._connections.read() as db:
            rows = db.execute(
                f"SELECT id, camera, person FROM tracklets WHERE {condition} ORDER BY id", values
            ).fetchall()
        return [Brief(*row) for row in rows]

    def judgements(self) -> list[Judgement]:
        with self._connections.snapshot() as db:
            rows = digests.verified(db, "judgements")
            numbers = sorted({number for row in rows for number in row[:2]})
            names = dict(
                db.execute(
                    "SELECT number, id FROM tracklets WHERE number IN (SELECT value FROM json_each(?))",
                    (json.dumps(numbers),),
                )
            )
            if len(names) < len(numbers):
                raise Damage("its table of tracklets: judgements speak of some that cannot be read")
        return [
            Judgement(query=names[q], tracklet=names[t], same=bool(same), by=by, at=at)
            for q, t, same, by, at in rows
        ]

    def audit(self, *, limit: int, before: int | None) -> list[AuditEntry]:
        with self._connections.snapshot() as db:
            digests.require_total(
                db, "audit", *db.execute("SELECT count(*), coalesce(sum(digest), 0) FROM audit").fetchone()
            )
            rows = db.execute(
                f"SELECT {', '.join(COVERED['audit'])}, digest FROM audit WHERE number < ? "
                "ORDER BY number DESC LIMIT ?",
                (2**62 if before is None else before, limit),
            ).fetchall()
            digests.require_rows("audit", rows)
        found = (dict(zip(COVERED["audit"], row, strict=False)) for row in rows)
        return [AuditEntry(**{**entry, "detail": json.loads(entry["detail"])}) for entry in found]

    def document(self, name: str) -> str | None:
        with self._connections.snapshot() as db:
            rows = db.execute("SELECT name, text, digest FROM documents WHERE name = ?", (name,)).fetchall()
            if not rows:  # or it vanished
                return dict(digests.verified(db, "documents")).get(name)
            digests.require_rows("documents", rows)
            return str(rows[0][1])

    def documents(
        self, prefix: str, *, after: str = "", newest: bool = False, limit: int = 0
    ) -> dict[str, str]:
        with self._connections.snapshot() as db:
            rows = db.execute(
                "SELECT name, text, digest FROM documents WHERE substr(name, 1, ?) = ? AND name >= ? AND name > ? "
                f"ORDER BY name {'DESC' if newest else 'ASC'} LIMIT ?",
                (len(prefix), prefix, prefix, after, limit or -1),
            ).fetchall()
            if not rows:
                digests.verified(db, "documents")
            digests.require_rows("documents", rows)
            return {name: text for name, text, _ in rows}

    @contextmanager
    def linked_alone(self) -> Iterator[None]:
        taken = (
            f"the gallery {self._folder} is being linked by somebody else; wait for that, then link it again"
        )
        path = self._folder / LINKING
        with suppress(OSError):
            path.touch(mode=0o600)
        with locked(path, taken=taken):
            yield

    def ready(self) -> None:
        if self._connections.damage:
            raise DamagedError(self._connections.damage)
        self._verify()
        self._connections.require_usable()

    def _verify(self) -> None:
        """Once per process, before an answer that rests on rows that are not there, or do not pass."""
        with self._verifying, self._connections.explained():
            if self._verified:
                return
            with self._connections.snapshot() as db:
                digests.verified(db, "tracklets")
                for table in ("tracklets", "judgements"):  # and the indices that find their rows
                    found = [text for (text,) in db.execute(f"PRAGMA integrity_check({table})")]
                    if found != ["ok"]:
                        raise Damage(f"its table of {table}: {found[0]}")
            self._verified = True

    def counts(self) -> Counts:
        self._verify()
        with self._connections.read() as db:
            groups: dict[str, dict[str, int]] = {
                column: dict(
                    db.execute(
                        f"SELECT {column}, count(*) FROM tracklets GROUP BY {column} ORDER BY {column}"
                    )
                )
                for column in ("camera", "person", "source")
            }
            times = db.execute(
                "SELECT min(start_s), max(end_s), min(started_at), max(started_at) FROM tracklets"
            ).fetchone()
            judgements = db.execute("SELECT count(*) FROM judgements").fetchone()[0]
            made = db.execute("SELECT count FROM axes").fetchone()
        groups["person"].pop("", None)
        return Counts(
            tracklets=sum(groups["camera"].values()),
            cameras=groups["camera"],
            people=groups["person"],
            sources=groups["source"],
            start_s=times[0],
            end_s=times[1],
            started_at=times[2],
            ended_at=times[3],
            judgements=judgements,
            size_bytes=sum(file.stat().st_size for file in self._folder.iterdir() if file.is_file()),
            index=axes.describe(made[0] if made else 0),
        )

    def build_index(self) -> str:
        with self._connections.explained():
            return self._memory.build_index()

    def check(self) -> list[str]:
        with self._connections.snapshot() as db:
            return all_damage(db)

    def discard(self) -> bool:
        gone = discard_file(self._folder)
        if gone:
            self.close()
        return gone


def all_damage(db: Connection) -> list[str]:
    """Read everything; what is damaged, in words."""
    found: list[str] = []

    def attempt(work: Callable[[], object]) -> None:
        try:
            work()
        except (Damage, DatabaseError, UnicodeDecodeError) as error:
            found.append(str(error))

    for table in COVERED:
        attempt(partial(digests.verified, db, table))
    numbers: list[int] = []
    attempt(lambda: numbers.extend(n for (n,) in db.execute("SELECT number FROM tracklets NOT INDEXED")))
    for number in numbers:
        attempt(partial(read_whole, db, number))
    attempt(lambda: found.extend(t for (t,) in db.execute("PRAGMA integrity_check") if t != "ok"))
    return list(dict.fromkeys(found))


def read_whole(
    db: Connection, number: int, *, pictures: bool = True
) -> tuple[TrackletRecord, bytes, Pictures]:
    """A tracklet with its vector and, if they are wanted, its pictures.

    Raises:
        Damage: any of it is not what was written.
    """
    row = db.execute(f"{_SELECT} WHERE number = ?", (number,)).fetchone()
    if row is None:
        raise Damage(f"tracklet number {number}")
    record = _record(row)
    vector = db.execute("SELECT vector FROM vectors WHERE number = ?", (number,)).fetchone()
    if vector is None or digests.bytes_digest([vector[0]]) != row[_COLUMNS.index("vector_digest")]:
        raise Damage(f"the vector of tracklet {record.id!r}")
    return record, vector[0], _pictures(db, row) if pictures else Pictures()


_TIMES = {
    "first_s": "coalesce(start_s, end_s)",
    "last_s": "coalesce(end_s, start_s)",
    "started_at": "started_at",
    "last_at": "started_at + coalesce(end_s - start_s, 0)",
    "seen_at": "min(coalesce(started_at, added_at), added_at)",
}
"""Those of `Filters.times`."""


def where(filters: Filters) -> tuple[str, list[Any]]:
    """A condition over the table of tracklets, and its values."""
    parts: list[str] = ["1"]
    values: list[Any] = []
    for column, texts, inside in filters.texts():
        parts.append(f"{column} {'IN' if inside else 'NOT IN'} (SELECT value FROM json_each(?))")
        values.append(json.dumps(sorted(texts)))
    for name, sign, value in filters.times():
        parts.append(f"{_TIMES[name]} {sign} ?")
        values.append(value)
    return " AND ".join(parts), values


def _real(value: float | None) -> float | None:
    """As SQLite gives it back: it keeps no minus before a zero."""
    return None if value is None else float(value) + 0.0


def _insert(db: Connection, number: int, record: TrackletRecord, vector: bytes, pictures: Pictures) -> None:
    boxes = json.dumps([list(b) for b in record.boxes])
    shown = [(place, jpeg) for place, jpeg in enumerate((pictures.strip, *pictures.crops)) if jpeg]
    values = (
        number,
        record.id,
        record.camera,
        int(record.camid),
        _real(record.start_s),
        _real(record.end_s),
        _real(record.started_at),
        int(record.num_frames),
        record.source,
        record.person,
        _real(record.added_at),
        digests.bytes_digest([boxes.encode()]),
        digests.bytes_digest([vector]),
        len(shown),
        digests.bytes_digest(jpeg for _, jpeg in shown),
    )
    digests.insert(db, "tracklets", values, boxes=boxes)
    db.execute("INSERT INTO vectors VALUES (?, ?)", (number, vector))
    db.executemany("INSERT INTO pictures VALUES (?, ?, ?)", [(number, *pair) for pair in shown])


def _record(row: tuple[Any, ...]) -> TrackletRecord:
    """From a row of `_SELECT`, or `Damage`."""
    *columns, digest, boxes = row
    values: dict[str, Any] = dict(zip(_COLUMNS, columns, strict=True))
    if (
        digests.row_digest(columns) != digest
        or digests.bytes_digest([boxes.encode()]) != values["boxes_digest"]
    ):
        raise Damage(f"the record of tracklet {values['id']!r}")
    for name in ("number", "boxes_digest", "vector_digest", "pictures", "pictures_digest"):
        del values[name]
    return TrackletRecord(**values, boxes=tuple(Box(*b) for b in json.loads(boxes)))


def _pictures(db: Connection, row: tuple[Any, ...]) -> Pictures:
    """Of the tracklet of a row of `_SELECT`, or `Damage`."""
    record = _record(row)
    values = dict(zip(_COLUMNS, row, strict=False))
    found = dict(
        db.execute("SELECT place, jpeg FROM pictures WHERE number = ? ORDER BY place", (values["number"],))
    )
    # The digest is of the pictures in their order; places are looked at for themselves.
    places = list(found)
    if (
        len(found) != values["pictures"]
        or digests.bytes_digest(found.values()) != values["pictures_digest"]
        or not all(type(place) is int for place in places)
        or places != sorted(places)
        or (places and places[0] not in (0, 1))
    ):
        raise Damage(f"the pictures of tracklet {record.id!r}")
    return Pictures(strip=found.pop(0, b""), crops=tuple(found.values()))


_CHOSEN = f"SELECT number FROM tracklets WHERE {_IDS}"


def _belonging(db: Connection, ids: Sequence[str]) -> tuple[int, int]:
    """Pictures of tracklets, and judgements about them; `Damage` where pictures that are lost could not be removed."""
    about = f"query IN ({_CHOSEN}) OR tracklet IN ({_CHOSEN})"
    pictures, written, judgements = db.execute(
        f"SELECT (SELECT count(*) FROM pictures WHERE number IN ({_CHOSEN})), "
        f"(SELECT coalesce(sum(pictures), 0) FROM tracklets WHERE {_IDS}), "
        f"(SELECT count(*) FROM judgements WHERE {about})",
        [json.dumps(list(ids))] * 4,
    ).fetchone()
    if pictures != written:
        raise Damage(f"its table of pictures: {pictures:,} of {written:,} can be found")
    return pictures, judgements


def _delete(db: Connection, ids: Sequence[str]) -> tuple[int, int]:
    found = _belonging(db, ids)
    # All that refers to them follows.
    db.execute(f"DELETE FROM tracklets WHERE {_IDS}", (json.dumps(list(ids)),))
    gone = set(ids)
    for name, text in digests.verified(db, "documents"):
        if is_paper(name) and (left := without(text, gone)) != text:
            db.execute("DELETE FROM documents WHERE name = ?", (name,))
            if left is not None:
                digests.insert(db, "documents", (name, left))
    _bump(db, "deletions")
    return found


def _drop_judgement(db: Connection, a: int, b: int) -> bool:
    found = db.execute(
        "DELETE FROM judgements WHERE min(query, tracklet) = ? AND max(query, tracklet) = ?",
        (min(a, b), max(a, b)),
    )
    return found.rowcount > 0


def _bump(db: Connection, what: str) -> None:
    """Tell readers what kind of change happened, see `Memory`."""
    db.execute("UPDATE revisions SET number = number + 1 WHERE what = ?", (what,))
