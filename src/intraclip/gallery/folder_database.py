"""The SQLite file of a folder gallery: its tables, its connections, and what its errors mean.

Durability: write-ahead log with a sync at every commit, so that what was acknowledged survives SIGKILL and power
loss, and a transaction is there whole or not at all. Deletion: freed bytes are overwritten with zeros
(``secure_delete``), and the log is emptied after every deletion.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from intraclip.errors import DataError, IntraclipError, OutputError, require_empty_folder
from intraclip.gallery.records import GalleryInfo
from intraclip.gallery.store import FORMAT_VERSION

FILE = "gallery.sqlite"
WAIT_S = 10.0
"""How long a writer waits for another one."""

APPLICATION_ID = 0x49434741
"""Tells a gallery from other SQLite files ("ICGA")."""

PAGE_BYTES = 16_384
"""A vector of 512 numbers fills half of SQLite's usual page, which would waste the other half."""

SCHEMA = """
CREATE TABLE info (name TEXT PRIMARY KEY, value NOT NULL);
CREATE TABLE revisions (what TEXT PRIMARY KEY, number INTEGER NOT NULL);
INSERT INTO revisions VALUES ('deletions', 0), ('people', 0), ('axes', 0);
CREATE TABLE documents (name TEXT PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE tracklets (
    number INTEGER PRIMARY KEY AUTOINCREMENT,  -- ascending, never used again: readers ask for what is new
    id TEXT NOT NULL UNIQUE, camera TEXT NOT NULL, camid INTEGER NOT NULL, start_s REAL, end_s REAL, started_at REAL,
    num_frames INTEGER NOT NULL, source TEXT NOT NULL, boxes TEXT NOT NULL, person TEXT NOT NULL,
    added_at REAL NOT NULL
);
CREATE INDEX tracklets_camera ON tracklets (camera);
CREATE INDEX tracklets_person ON tracklets (person);
CREATE INDEX tracklets_source ON tracklets (source);
CREATE TABLE vectors (
    number INTEGER PRIMARY KEY REFERENCES tracklets ON DELETE CASCADE, vector BLOB NOT NULL
);
CREATE TABLE pictures (  -- place 0 is the film strip, then come the crops
    number INTEGER NOT NULL REFERENCES tracklets ON DELETE CASCADE, place INTEGER NOT NULL, jpeg BLOB NOT NULL
);
CREATE INDEX pictures_number ON pictures (number, place);
CREATE TABLE judgements (
    query INTEGER NOT NULL REFERENCES tracklets ON DELETE CASCADE,
    tracklet INTEGER NOT NULL REFERENCES tracklets ON DELETE CASCADE,
    same INTEGER NOT NULL, by TEXT NOT NULL, at REAL NOT NULL
);
CREATE UNIQUE INDEX judgements_pair ON judgements (min(query, tracklet), max(query, tracklet));
CREATE INDEX judgements_query ON judgements (query);
CREATE INDEX judgements_tracklet ON judgements (tracklet);
CREATE TABLE audit (
    number INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, action TEXT NOT NULL, actor TEXT NOT NULL,
    detail TEXT NOT NULL
);
CREATE TABLE axes (made_for INTEGER NOT NULL, count INTEGER NOT NULL, matrix BLOB NOT NULL);
"""


def create_file(info: GalleryInfo) -> Path:
    """Write an empty gallery; whole or not at all.

    Raises:
        OutputError: the folder is not empty, or cannot be written.
    """
    folder = Path(info.address)
    require_empty_folder(folder, remedy="give a new folder for the gallery")
    partial = folder / f"{FILE}.{os.getpid()}.partial"
    try:
        # Pictures of people: for the owner alone, unless somebody opens the folder to others.
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial.touch(mode=0o600)
        with explained(folder), closing_connection(sqlite3.connect(partial, isolation_level=None)) as db:
            db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
            db.executescript(f"BEGIN; {SCHEMA}")
            told = {f.name: getattr(info, f.name) for f in fields(info) if f.name != "address"}
            db.executemany("INSERT INTO info VALUES (?, ?)", told.items())
            db.execute("COMMIT")
        partial.rename(folder / FILE)
    except OSError as error:
        raise OutputError(f"the gallery {folder} cannot be created: {error.strerror}") from None
    finally:
        with suppress(OSError):
            partial.unlink()
    return folder


def read_info(folder: Path) -> GalleryInfo:
    """What a gallery was made for.

    Raises:
        DataError: there is no gallery, it is damaged, or of another version.
    """
    path = folder / FILE
    if not path.is_file():
        what = "there is no such folder" if not folder.exists() else f"it holds no {FILE}"
        raise DataError(
            f"{folder} is no gallery: {what}; make one with `intraclip gallery add {folder} --data TRACKLETS ...`"
        )
    with explained(folder), closing_connection(connect(folder)) as db:
        kind = db.execute("PRAGMA application_id").fetchone()[0]
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if kind != APPLICATION_ID:
            raise DataError(f"{path} is a database of another program, no gallery")
        if version != FORMAT_VERSION:
            raise DataError(
                f"the gallery {folder} has format version {version}, this intraclip reads {FORMAT_VERSION}; "
                + ("update intraclip" if version > FORMAT_VERSION else "add its tracklets to a new gallery")
            )
        found: dict[str, Any] = dict(db.execute("SELECT name, value FROM info"))
    return GalleryInfo(address=str(folder), **found)


def connect(folder: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection in autocommit mode that any thread may use, one at a time."""
    db = sqlite3.connect(
        f"{(folder / FILE).absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=WAIT_S,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA secure_delete = ON")
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA temp_store = MEMORY")  # nothing personal in files outside the folder
        if read_only:
            db.execute("PRAGMA query_only = ON")
    except BaseException:
        db.close()
        raise
    return db


@contextmanager
def closing_connection(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Close a connection at the end."""
    try:
        yield db
    finally:
        db.close()


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turn SQLite's errors into what the user can do about them."""
    try:
        yield
    except (IntraclipError, sqlite3.IntegrityError):  # the second: an id that is there already
        raise
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            reason = f"another process is writing to it and was not done after {WAIT_S:g} s; try again later"
        elif code == sqlite3.SQLITE_FULL:
            reason = "the disk is full; make room and try again"
        elif code == sqlite3.SQLITE_IOERR:
            reason = f"the disk is full, or fails ({error}); make room and try again"
        elif code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            reason = (
                f"its files cannot be opened for writing ({error}); look at the permissions of the folder"
            )
        else:
            raise DataError(
                f"the gallery {folder} is damaged: {error}; restore {FILE} from a copy, or add the tracklets to a new "
                "gallery"
            ) from None
        raise OutputError(
            f"the gallery {folder} cannot be used: {reason}. What was in it is still there"
        ) from None


class Connections:
    """One connection that writes, and as many that read as are needed at once.

    Args:
        folder: of the gallery.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writing = threading.Lock()
        self._lending = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._closed = False
        with explained(folder):
            self._writer = connect(folder)

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A connection for reading."""
        with explained(self.folder):
            with self._lending:
                self._require_open()
                db = self._idle.pop() if self._idle else None
            db = db or connect(self.folder, read_only=True)
            try:
                yield db
            finally:
                with self._lending:
                    keep = not self._closed
                    if keep:
                        self._idle.append(db)
                if not keep:
                    db.close()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction: everything in it is kept, or after an error nothing."""
        with explained(self.folder):
            if not self._writing.acquire(timeout=WAIT_S):
                raise OutputError(
                    f"the gallery {self.folder} cannot be written: another thread was not done after {WAIT_S:g} s"
                )
            try:
                self._require_open()
                self._writer.execute("BEGIN IMMEDIATE")
                try:
                    yield self._writer
                    self._writer.execute("COMMIT")
                except BaseException:
                    if self._writer.in_transaction:
                        self._writer.execute("ROLLBACK")
                    raise
            finally:
                self._writing.release()

    def empty_log(self) -> bool:
        """Move the log into the database and cut it to nothing; False while a reader needs it, or the disk is full."""
        with self._writing:
            try:
                busy = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            except sqlite3.OperationalError:
                return False
        return not busy

    def close(self) -> None:
        """Close all; those that are in use when they come back."""
        with self._writing, self._lending:
            self._closed = True
            self._writer.close()
            for db in self._idle:
                db.close()
            self._idle.clear()

    def _require_open(self) -> None:
        if self._closed:
            raise OutputError(f"the gallery {self.folder} has been closed")
