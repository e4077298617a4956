"""What is intact of a damaged folder gallery, saved into a new one."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from intraclip.errors import ConfigError, DamagedError
from intraclip.gallery.digests import COVERED, Damage, row_digest
from intraclip.gallery.folder import FolderStore, create_store, read_whole
from intraclip.gallery.folder_database import connect, explained
from intraclip.gallery.gallery import is_server
from intraclip.gallery.papers import is_paper, tracklets_of, without
from intraclip.gallery.records import AuditEntry, GalleryInfo, Judgement, Pictures, TrackletRecord

BATCH = 500

_BROKEN = (Damage, sqlite3.DatabaseError, UnicodeDecodeError)


@dataclass(kw_only=True)
class Saved:
    """What was saved of a damaged gallery.

    Attributes:
        without_pictures: ids of those whose pictures are damaged.
        audit: lines of the log saved; they are numbered anew.
        lost: what could not be saved, in words.
    """

    tracklets: int = 0
    without_pictures: list[str] = field(default_factory=list)
    judgements: int = 0
    audit: int = 0
    lost: list[str] = field(default_factory=list)


def save_intact(address: str | Path, new: Path) -> Saved:
    """Copy all that is as it was written into a new gallery in a folder; the damaged one is left as it is.

    Raises:
        ConfigError: the gallery is on a server, which repairs its own.
        DamagedError: nothing can be read, not even for which model it was made.
        OutputError: the new folder is not empty, or cannot be written.
    """
    if is_server(address):
        raise ConfigError(f"{address} is on a server, which repairs its own files")
    folder = Path(address)
    with explained(folder), closing(connect(folder)) as db:
        saved = Saved()
        told = dict(_rows(db, "info", saved))
        try:
            info = GalleryInfo(address=str(new), **told)
        except TypeError:
            raise DamagedError(
                f"the gallery {folder} is damaged: for which model it was made cannot be read, so nothing of it can be "
                "used; restore it from a copy"
            ) from None
        store = create_store(info)
        try:
            numbers = _save_tracklets(db, store, saved)
            _save_rest(db, store, numbers, saved)
        finally:
            store.close()
    return saved


def _save_tracklets(db: sqlite3.Connection, store: FolderStore, saved: Saved) -> dict[int, str]:
    """Returns ids by the numbers that judgements use."""
    numbers: dict[int, str] = {}
    seen: set[str] = set()
    every = _numbers(db)
    for start in range(0, len(every), BATCH):
        intact: list[tuple[TrackletRecord, bytes, Pictures]] = []
        for number in every[start : start + BATCH]:
            try:
                found = _tracklet(db, number, saved)
            except _BROKEN as error:
                saved.lost.append(f"tracklet number {number}: {error}")
                continue
            if found[0].id not in seen:
                numbers[number] = found[0].id
                seen.add(found[0].id)
                intact.append(found)
        if intact:
            records, vectors, pictures = zip(*intact, strict=True)
            store.insert(records, np.stack([np.frombuffer(v, np.float32) for v in vectors]), pictures)
            saved.tracklets += len(records)
    with suppress(*_BROKEN):
        (written,) = db.execute("SELECT rows FROM totals WHERE what = 'tracklets'").fetchone()
        if written > saved.tracklets:
            saved.lost.append(f"{written - saved.tracklets:,} of {written:,} tracklets, in all")
    return numbers


def _save_rest(db: sqlite3.Connection, store: FolderStore, numbers: dict[int, str], saved: Saved) -> None:
    for query, tracklet, same, by, at in _rows(db, "judgements", saved):
        if query in numbers and tracklet in numbers:
            store.put_judgement(
                Judgement(query=numbers[query], tracklet=numbers[tracklet], same=bool(same), by=by, at=at)
            )
            saved.judgements += 1
    kept = set(numbers.values())
    for name, text in _rows(db, "documents", saved):
        lost = set(tracklets_of(text)) - kept if is_paper(name) else set()
        if (left := without(text, lost) if lost else text) is not None:
            store.put_document(name, left)
    for _, at, action, actor, origin, detail in _rows(db, "audit", saved):
        entry = AuditEntry(
            number=0, at=at, action=action, actor=actor, origin=origin, detail=json.loads(detail)
        )
        store.append_audit(entry, essential=False)
        saved.audit += 1
    store.build_index()


def _tracklet(db: sqlite3.Connection, number: int, saved: Saved) -> tuple[TrackletRecord, bytes, Pictures]:
    try:
        return read_whole(db, number)
    except _BROKEN:
        record, vector, none = read_whole(db, number, pictures=False)
        saved.without_pictures.append(record.id)
        return record, vector, none


def _numbers(db: sqlite3.Connection) -> list[int]:
    """Numbers of tracklets by every way to them, from both ends: a damaged page ends one, not all."""
    found: set[int] = set()
    for query in (
        "SELECT number FROM tracklets NOT INDEXED ORDER BY number",
        "SELECT number FROM tracklets NOT INDEXED ORDER BY number DESC",
        "SELECT number FROM tracklets INDEXED BY sqlite_autoindex_tracklets_1 ORDER BY id",
        "SELECT number FROM tracklets INDEXED BY sqlite_autoindex_tracklets_1 ORDER BY id DESC",
        "SELECT number FROM vectors ORDER BY number",
        "SELECT number FROM vectors ORDER BY number DESC",
    ):
        with suppress(*_BROKEN):
            for (number,) in db.execute(query):
                found.add(number)
    return sorted(n for n in found if isinstance(n, int))


def _rows(db: sqlite3.Connection, table: str, saved: Saved) -> list[tuple[Any, ...]]:
    """Intact rows of a table, from both ends up to what cannot be read, in the order they were written."""
    found: dict[int, tuple[Any, ...]] = {}
    reasons: list[str] = []
    for order in ("", "DESC"):
        try:
            for number, *values, digest in db.execute(
                f"SELECT rowid, {', '.join(COVERED[table])}, digest FROM {table} NOT INDEXED ORDER BY rowid {order}"
            ):
                if row_digest(values) == digest:
                    found[number] = tuple(values)
                else:
                    reasons.append(f"row {number} of its table of {table}")
        except _BROKEN as error:
            reasons.append(f"its table of {table}: {error}")
    saved.lost += dict.fromkeys(reasons)
    return [found[number] for number in sorted(found)]
