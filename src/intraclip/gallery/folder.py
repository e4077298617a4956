"""A gallery in a folder: SQLite keeps everything, searches run in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from sqlite3 import Connection, IntegrityError
from typing import Any

import numpy as np

from intraclip.errors import DataError
from intraclip.gallery import axes
from intraclip.gallery.folder_database import Connections, create_file, explained, read_info
from intraclip.gallery.folder_memory import Memory
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
from intraclip.gallery.store import Brief, Nearest, Removed, Vectors

COLUMNS = (
    "id", "camera", "camid", "start_s", "end_s", "started_at", "num_frames", "source", "boxes", "person", "added_at",
)  # fmt: skip
_SELECT = f"SELECT {', '.join(COLUMNS)} FROM tracklets"
_INSERT = f"INSERT INTO tracklets ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
_IDS = "id IN (SELECT value FROM json_each(?))"
"""Any number of ids in one parameter; SQLite limits the number of parameters."""


def create_folder(info: GalleryInfo) -> FolderStore:
    """Create an empty gallery in a folder.

    Raises:
        OutputError: the folder is not empty, or cannot be written.
    """
    return open_folder(create_file(info))


def open_folder(folder: Path) -> FolderStore:
    """Open the gallery in a folder.

    Raises:
        DataError: there is none, it is damaged, or of another version.
    """
    return FolderStore(folder, read_info(folder))


class FolderStore:
    """See `intraclip.gallery.store.Store`.

    Args:
        folder: with the database.
        info: what stands in it.
    """

    def __init__(self, folder: Path, info: GalleryInfo) -> None:
        self.info = info
        self._folder = folder
        self._connections = Connections(folder)
        self._memory = Memory(folder, info)

    def close(self) -> None:
        """See `Store`."""
        self._memory.close()
        self._connections.close()

    # -- writing -------------------------------------------------------------------------------------------

    def insert(
        self, records: Sequence[TrackletRecord], vectors: Vectors, pictures: Sequence[Pictures]
    ) -> None:
        """See `Store`."""
        try:
            with self._connections.write() as db:
                for record, vector, shown in zip(records, vectors, pictures, strict=True):
                    number = db.execute(_INSERT, _row(record)).lastrowid
                    db.execute("INSERT INTO vectors VALUES (?, ?)", (number, vector.tobytes()))
                    db.executemany(
                        "INSERT INTO pictures VALUES (?, ?, ?)",
                        [
                            (number, place, jpeg)
                            for place, jpeg in enumerate((shown.strip, *shown.crops))
                            if jpeg
                        ],
                    )
        except IntegrityError:
            # `Gallery` looked before; another process was quicker.
            raise DataError(
                f"one of the {len(records)} tracklets was added to the gallery {self._folder} by somebody else just "
                "now; nothing was added, add them again"
            ) from None

    def remove(self, ids: Sequence[str], *, dry_run: bool) -> Removed:
        """See `Store`."""
        chosen = "number IN (SELECT number FROM chosen)"
        with self._connections.write() as db:
            db.execute("CREATE TEMP TABLE IF NOT EXISTS chosen (number INTEGER PRIMARY KEY)")
            db.execute("DELETE FROM chosen")
            db.execute(
                f"INSERT INTO chosen SELECT number FROM tracklets WHERE {_IDS}", (json.dumps(list(ids)),)
            )
            pictures = db.execute(f"SELECT count(*) FROM pictures WHERE {chosen}").fetchone()[0]
            judgements = db.execute(
                "SELECT count(*) FROM judgements WHERE query IN (SELECT number FROM chosen) "
                "OR tracklet IN (SELECT number FROM chosen)"
            ).fetchone()[0]
            if not dry_run and ids:
                db.execute(f"DELETE FROM tracklets WHERE {chosen}")  # all that refers to them follows
                _bump(db, "deletions")
            db.execute("DELETE FROM chosen")
        complete = dry_run or not ids or self._connections.empty_log()
        note = "" if complete else (
            "another process was still reading the older state; the write-ahead log keeps the bytes until the next "
            "deletion or until the last process closes the gallery"
        )  # fmt: skip
        return Removed(pictures, judgements, complete, note)

    def set_person(self, ids: Sequence[str], person: str) -> None:
        """See `Store`."""
        with self._connections.write() as db:
            db.execute(f"UPDATE tracklets SET person = ? WHERE {_IDS}", (person, json.dumps(list(ids))))
            _bump(db, "people")

    def put_judgement(self, judgement: Judgement) -> None:
        """See `Store`."""
        with self._connections.write() as db:
            numbers = self._numbers(db, judgement.query, judgement.tracklet)
            db.execute(
                "INSERT OR REPLACE INTO judgements VALUES (?, ?, ?, ?, ?)",
                (*numbers, int(judgement.same), judgement.by, judgement.at),
            )

    def drop_judgement(self, query: str, tracklet: str) -> bool:
        """See `Store`."""
        with self._connections.write() as db:
            a, b = self._numbers(db, query, tracklet)
            found = db.execute(
                "DELETE FROM judgements WHERE min(query, tracklet) = ? AND max(query, tracklet) = ?",
                (min(a, b), max(a, b)),
            )
            return found.rowcount > 0

    def _numbers(self, db: Connection, *ids: str) -> list[int]:
        found = dict(db.execute(f"SELECT id, number FROM tracklets WHERE {_IDS}", (json.dumps(ids),)))
        missing = [i for i in ids if i not in found]
        if missing:
            raise DataError(f"the gallery {self._folder} has no tracklets {', '.join(missing)}")
        return [found[i] for i in ids]

    def append_audit(self, *, at: float, action: str, actor: str, detail: Mapping[str, Any]) -> None:
        """See `Store`."""
        with self._connections.write() as db:
            db.execute(
                "INSERT INTO audit (at, action, actor, detail) VALUES (?, ?, ?, ?)",
                (at, action, actor, json.dumps(detail)),
            )

    def put_document(self, name: str, text: str | None) -> None:
        """See `Store`."""
        with self._connections.write() as db:
            if text is None:
                db.execute("DELETE FROM documents WHERE name = ?", (name,))
            else:
                db.execute("INSERT OR REPLACE INTO documents VALUES (?, ?)", (name, text))

    # -- reading -------------------------------------------------------------------------------------------

    def records(self, ids: Sequence[str]) -> dict[str, TrackletRecord]:
        """See `Store`."""
        with self._connections.read() as db:
            rows = db.execute(f"{_SELECT} WHERE {_IDS}", (json.dumps(list(ids)),)).fetchall()
        return {record.id: record for record in map(_record, rows)}

    def vectors(self, ids: Sequence[str]) -> dict[str, Vectors]:
        """See `Store`."""
        with self._connections.read() as db:
            rows = db.execute(
                f"SELECT id, vector FROM tracklets JOIN vectors USING (number) WHERE {_IDS}",
                (json.dumps(list(ids)),),
            ).fetchall()
        return {name: np.frombuffer(vector, dtype=np.float32) for name, vector in rows}

    def pictures(self, tracklet: str) -> Pictures:
        """See `Store`."""
        with self._connections.read() as db:
            found = dict(
                db.execute(
                    "SELECT place, jpeg FROM pictures JOIN tracklets USING (number) WHERE id = ?", (tracklet,)
                )
            )
        return Pictures(
            strip=found.get(0, b""), crops=tuple(jpeg for place, jpeg in sorted(found.items()) if place)
        )

    def nearest(self, query: Vectors, *, k: int, filters: Filters) -> Nearest:
        """See `Store`."""
        found = self._memory.nearest(query, k=k, filters=filters)
        with self._connections.read() as db:
            names = dict(
                db.execute(
                    "SELECT number, id FROM tracklets WHERE number IN (SELECT value FROM json_each(?))",
                    (json.dumps(found.numbers.tolist()),),
                )
            )
        there = [i for i, number in enumerate(found.numbers.tolist()) if number in names]
        ids = [names[int(found.numbers[i])] for i in there]
        return Nearest(ids, found.vectors[there], found.exact)

    def page(self, filters: Filters, *, limit: int, after: str) -> list[TrackletRecord]:
        """See `Store`."""
        condition, values = where(filters)
        with self._connections.read() as db:
            rows = db.execute(
                f"{_SELECT} WHERE id > ? AND {condition} ORDER BY id LIMIT ?", (after, *values, limit)
            ).fetchall()
        return [_record(row) for row in rows]

    def select(self, filters: Filters) -> list[Brief]:
        """See `Store`."""
        condition, values = where(filters)
        with self._connections.read() as db:
            rows = db.execute(
                f"SELECT id, camera, person FROM tracklets WHERE {condition} ORDER BY id", values
            ).fetchall()
        return [Brief(*row) for row in rows]

    def judgements(self) -> list[Judgement]:
        """See `Store`."""
        with self._connections.read() as db:
            rows = db.execute(
                "SELECT q.id, t.id, same, by, at FROM judgements "
                "JOIN tracklets q ON q.number = query JOIN tracklets t ON t.number = tracklet ORDER BY at"
            ).fetchall()
        return [Judgement(query=q, tracklet=t, same=bool(same), by=by, at=at) for q, t, same, by, at in rows]

    def audit(self, *, limit: int, before: int | None) -> list[AuditEntry]:
        """See `Store`."""
        with self._connections.read() as db:
            rows = db.execute(
                "SELECT number, at, action, actor, detail FROM audit WHERE number < ? ORDER BY number DESC LIMIT ?",
                (2**62 if before is None else before, limit),
            ).fetchall()
        return [
            AuditEntry(number=number, at=at, action=action, actor=actor, detail=json.loads(detail))
            for number, at, action, actor, detail in rows
        ]

    def document(self, name: str) -> str | None:
        """See `Store`."""
        with self._connections.read() as db:
            row = db.execute("SELECT text FROM documents WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def counts(self) -> Counts:
        """See `Store`."""
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
        """See `Store`."""
        with explained(self._folder):
            return self._memory.build_index(self._connections)


def where(filters: Filters) -> tuple[str, list[Any]]:
    """A condition over the table of tracklets, and its values."""
    parts: list[str] = ["1"]
    values: list[Any] = []

    def add(condition: str, value: Any) -> None:
        parts.append(condition)
        values.append(json.dumps(sorted(value)) if isinstance(value, frozenset) else value)

    members = {
        "id": filters.ids,
        "camera": filters.cameras,
        "person": filters.people,
        "source": filters.sources,
    }
    for column, wanted in members.items():
        if wanted is not None:
            add(f"{column} IN (SELECT value FROM json_each(?))", wanted)
    for column, unwanted in {"id": filters.exclude_ids, "camera": filters.exclude_cameras}.items():
        if unwanted:
            add(f"{column} NOT IN (SELECT value FROM json_each(?))", unwanted)
    limits = {
        "coalesce(end_s, start_s) >= ?": filters.from_s,
        "coalesce(start_s, end_s) <= ?": filters.to_s,
        "started_at + coalesce(end_s - start_s, 0) >= ?": filters.since,
        "started_at <= ?": filters.until,
        "coalesce(started_at, added_at) < ?": filters.seen_before,
    }
    for condition, value in limits.items():
        if value is not None:
            add(condition, value)
    return " AND ".join(parts), values


def _row(record: TrackletRecord) -> tuple[Any, ...]:
    values = {**record.to_json_dict(), "boxes": json.dumps([list(b) for b in record.boxes])}
    return tuple(values[name] for name in COLUMNS)


def _record(row: tuple[Any, ...]) -> TrackletRecord:
    values: dict[str, Any] = dict(zip(COLUMNS, row, strict=True))
    values["boxes"] = tuple(Box(*b) for b in json.loads(values["boxes"]))
    return TrackletRecord(**values)


def _bump(db: Connection, what: str) -> None:
    """Tell readers what kind of change happened, see `Memory`."""
    db.execute("UPDATE revisions SET number = number + 1 WHERE what = ?", (what,))
