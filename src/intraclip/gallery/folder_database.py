"""The SQLite file of a folder gallery: its tables, its connections, and what its errors mean.

Durability: write-ahead log with a sync at every commit, so that what was acknowledged survives SIGKILL and power
loss, and a transaction is there whole or not at all. Deletion: freed bytes are overwritten with zeros
(``secure_delete``), and the log is emptied after everything that takes something back. Damage: `digests` on every row,
and a count of changes beside the database.
"""

from __future__ import annotations

import shlex
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from intraclip.core.folders import require_empty_folder
from intraclip.errors import DamagedError, DataError, OutputError
from intraclip.gallery import digests
from intraclip.gallery.digests import COVERED, Damage
from intraclip.gallery.folder_files import (
    COMMITS,
    FILE,
    OPENING_BYTES,
    PARTIAL,
    RESERVE_BYTES,
    creating,
    is_unfinished,
    keep_reserve,
    read_commits,
    release_reserve,
    sweep,
    write_commits,
)
from intraclip.gallery.records import GalleryInfo

Result = TypeVar("Result")

FORMAT_VERSION = 2
"""Version 1 had no digests; it is brought up to date when it is opened."""

WAIT_S = 10.0
"""How long a writer waits for another one."""

SPARE_BYTES = 2**20
"""Free disk space below which a gallery is full: a change needs so much for its log."""

APPLICATION_ID = 0x49434741
"""Tells a gallery from other SQLite files ("ICGA")."""

PAGE_BYTES = 16_384
"""A vector of 512 numbers fills half of SQLite's usual page, which would waste the other half."""

_DIGESTS = (
    "boxes_digest INTEGER NOT NULL DEFAULT 0",
    "vector_digest INTEGER NOT NULL DEFAULT 0",
    "pictures INTEGER NOT NULL DEFAULT 0",
    "pictures_digest INTEGER NOT NULL DEFAULT 0",
)
_DIGEST = "digest INTEGER NOT NULL DEFAULT 0"
_ORIGIN = "origin TEXT NOT NULL DEFAULT ''"

SCHEMA = f"""
CREATE TABLE info (name TEXT PRIMARY KEY, value NOT NULL, {_DIGEST});
CREATE TABLE revisions (what TEXT PRIMARY KEY, number INTEGER NOT NULL);
INSERT INTO revisions VALUES ('deletions', 0), ('people', 0), ('axes', 0), ('commits', 0);
CREATE TABLE documents (name TEXT PRIMARY KEY, text TEXT NOT NULL, {_DIGEST});
CREATE TABLE tracklets (
    number INTEGER PRIMARY KEY AUTOINCREMENT,  -- ascending, never used again: readers ask for what is new
    id TEXT NOT NULL UNIQUE, camera TEXT NOT NULL, camid INTEGER NOT NULL, start_s REAL, end_s REAL, started_at REAL,
    num_frames INTEGER NOT NULL, source TEXT NOT NULL, boxes TEXT NOT NULL, person TEXT NOT NULL,
    added_at REAL NOT NULL, {", ".join(_DIGESTS)}, {_DIGEST}
);
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
    same INTEGER NOT NULL, by TEXT NOT NULL, at REAL NOT NULL, {_DIGEST}
);
CREATE UNIQUE INDEX judgements_pair ON judgements (min(query, tracklet), max(query, tracklet));
CREATE INDEX judgements_query ON judgements (query);
CREATE INDEX judgements_tracklet ON judgements (tracklet);
CREATE TABLE audit (
    number INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, action TEXT NOT NULL, actor TEXT NOT NULL,
    detail TEXT NOT NULL, {_ORIGIN}, {_DIGEST}
);
CREATE TABLE axes (made_for INTEGER NOT NULL, count INTEGER NOT NULL, matrix BLOB NOT NULL, {_DIGEST});
"""


class DiskFullError(OutputError):
    """A gallery cannot be written because there is no room, or the disk fails."""


def create_file(info: GalleryInfo) -> None:
    """Write an empty gallery; whole or not at all, and by one process only.

    Raises:
        OutputError: the folder is not empty, or cannot be written.
    """
    folder = Path(info.address)
    remedy = "give a new folder for the gallery"
    if not is_unfinished(folder):
        require_empty_folder(folder, remedy=remedy)
    new = not folder.exists()
    with creating(folder, WAIT_S):
        made = False
        try:
            sweep(folder)
            if not is_unfinished(folder):
                require_empty_folder(folder, remedy=remedy)
            _write_empty(folder, info)
            made = True
        except OSError as error:
            raise OutputError(f"the gallery {folder} cannot be created: {error.strerror}") from None
        finally:
            if not made:
                _clear(folder, remove=new)


def _write_empty(folder: Path, info: GalleryInfo) -> None:
    (folder / COMMITS).write_bytes(b"")
    partial = folder / PARTIAL
    partial.touch(mode=0o600)
    with explained(folder), closing(sqlite3.connect(partial, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = OFF")  # what is cut short is swept
        db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
        db.execute("BEGIN")
        for statement in _statements(SCHEMA + digests.TOTALS):
            db.execute(statement)
        told = {f.name: getattr(info, f.name) for f in fields(info) if f.name != "address"}
        for pair in {**told, "format_version": FORMAT_VERSION}.items():
            digests.insert(db, "info", pair)
        _sign_schema(db)
        db.execute("COMMIT")
        # Now, while nobody else sees it: two that open it at once could both try, and one be told that it is locked.
        db.execute("PRAGMA journal_mode = WAL")
    partial.rename(folder / FILE)


def discard_file(folder: Path) -> bool:
    """Remove a gallery that nothing was ever added to; False if something was.

    Whoever has it open cannot write to it any more, see `Connections.write`.
    """
    with creating(folder, WAIT_S):
        with explained(folder), closing(connect(folder)) as db:
            db.execute("BEGIN IMMEDIATE")
            used = "SELECT 1 FROM sqlite_sequence UNION SELECT 1 FROM documents UNION SELECT 1 FROM audit"
            if db.execute(used).fetchone() is not None:
                db.execute("ROLLBACK")
                return False
            for name in (FILE, f"{FILE}-wal", f"{FILE}-shm"):
                (folder / name).unlink(missing_ok=True)
        for name in (f"{FILE}-wal", f"{FILE}-shm"):
            (folder / name).unlink(missing_ok=True)
        _clear(folder, remove=True)
    return True


def _clear(folder: Path, *, remove: bool) -> None:
    """Remove what an unfinished creation left, and the folder if it was made for it."""
    with suppress(OSError):
        if is_unfinished(folder):
            for path in folder.iterdir():
                path.unlink(missing_ok=True)
            if remove:
                folder.rmdir()


def read_info(folder: Path) -> GalleryInfo:
    """What a gallery was made for. One of an older version is brought up to date.

    Raises:
        DataError: there is no gallery, or one of another version.
    """
    path = folder / FILE
    if not path.is_file():
        if not folder.exists():
            what = "there is no such folder"
        elif folder.is_dir() and any(folder.iterdir()) and is_unfinished(folder):
            what = "its creation was cut short"
        else:
            what = f"it holds no {FILE}"
        raise DataError(
            f"{folder} is no gallery: {what}; make one with `intraclip gallery add {shlex.quote(str(folder))} --data "
            "TRACKLETS ...`"
        )
    with explained(folder):
        committed = read_commits(folder)
        with closing(connect(folder)) as db:
            kind = db.execute("PRAGMA application_id").fetchone()[0]
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if kind != APPLICATION_ID:
                raise DataError(f"{path} is a database of another program, no gallery")
            if version == 1:
                _migrate(db)
                version = FORMAT_VERSION
            if version != FORMAT_VERSION:
                raise DataError(
                    f"the gallery {folder} has format version {version}, this intraclip reads 1 to {FORMAT_VERSION}; "
                    "update intraclip"
                )
            db.execute("BEGIN")
            try:
                digests.require_total(db, "schema", 1, digests.schema_digest(db))
                found: dict[str, Any] = dict(digests.verified(db, "info"))
                number = db.execute("SELECT number FROM revisions WHERE what = 'commits'").fetchone()
            finally:
                db.execute("COMMIT")
            if number is None or number[0] < committed:
                lost = committed - (number or (0,))[0]
                raise Damage(
                    f"its write-ahead log: {lost:,} of its last changes are lost, what was written before them is not "
                    f"(if you restored an older copy, remove {COMMITS})"
                )
    return GalleryInfo(address=str(folder), **found)


def _migrate(db: sqlite3.Connection) -> None:
    """From version 1: digests on all rows, an origin in the audit log; filters read the table, not indices."""
    db.execute("BEGIN IMMEDIATE")
    try:
        if db.execute("PRAGMA user_version").fetchone()[0] == 1:
            for column in _DIGESTS:
                db.execute(f"ALTER TABLE tracklets ADD COLUMN {column}")
            db.execute(f"ALTER TABLE audit ADD COLUMN {_ORIGIN}")
            for table in COVERED:
                db.execute(f"ALTER TABLE {table} ADD COLUMN {_DIGEST}")
            for column in ("camera", "person", "source"):
                db.execute(f"DROP INDEX tracklets_{column}")
            db.execute("INSERT INTO revisions VALUES ('commits', 0)")
            db.execute("UPDATE info SET value = ? WHERE name = 'format_version'", (FORMAT_VERSION,))
            for statement in _statements(digests.TOTALS):
                db.execute(statement)
            for table in COVERED:
                db.execute(
                    f"UPDATE totals SET rows = (SELECT count(*) FROM {table}) WHERE what = ?", (table,)
                )
            for (number,) in db.execute("SELECT number FROM tracklets").fetchall():
                boxes, vector = db.execute(
                    "SELECT boxes, vector FROM tracklets JOIN vectors USING (number) WHERE number = ?",
                    (number,),
                ).fetchone()
                shown = [
                    jpeg
                    for (jpeg,) in db.execute(
                        "SELECT jpeg FROM pictures WHERE number = ? ORDER BY place", (number,)
                    )
                ]
                db.execute(
                    "UPDATE tracklets SET boxes_digest = ?, vector_digest = ?, pictures = ?, pictures_digest = ? "
                    "WHERE number = ?",
                    (
                        digests.bytes_digest([boxes.encode()]),
                        digests.bytes_digest([vector]),
                        len(shown),
                        digests.bytes_digest(shown),
                        number,
                    ),
                )
            for table in COVERED:
                digests.sign(db, table)
            _sign_schema(db)
            db.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise
    with suppress(sqlite3.OperationalError):
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _sign_schema(db: sqlite3.Connection) -> None:
    db.execute("UPDATE totals SET rows = 1, sum = ? WHERE what = 'schema'", (digests.schema_digest(db),))


def _statements(script: str) -> Iterator[str]:
    """`executescript` would commit what came before."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def connect(folder: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection in autocommit mode that any thread may use, one at a time; on a full disk too."""
    try:
        return _connect(folder, read_only)
    except sqlite3.OperationalError as error:
        full = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
        rest = RESERVE_BYTES - OPENING_BYTES
        if not full or not (release_reserve(folder, keep=rest) or release_reserve(folder)):
            raise
    return _connect(folder, read_only)


def _connect(folder: Path, read_only: bool) -> sqlite3.Connection:
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
def explained(folder: Path) -> Iterator[None]:
    """Turn SQLite's errors into what the user can do about them."""
    try:
        yield
    except Damage as damage:
        raise damaged(folder, str(damage)) from None
    except UnicodeDecodeError:  # in one of SQLite's own messages, which then names damaged text
        raise damaged(folder, "its table of contents") from None
    except sqlite3.DatabaseError as error:
        extended = getattr(error, "sqlite_errorcode", 0)
        code = extended & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            reason = f"another process is writing to it and was not done after {WAIT_S:g} s; try again later"
        elif code == sqlite3.SQLITE_FULL:
            raise _full(folder, "the disk is full") from None
        elif code == sqlite3.SQLITE_IOERR and extended != sqlite3.SQLITE_IOERR_SHORT_READ:
            raise _full(folder, f"the disk is full, or fails ({error})") from None
        elif code == sqlite3.SQLITE_CANTOPEN and not (folder / FILE).exists():
            raise _gone(folder) from None
        elif code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            reason = (
                f"its files cannot be opened for writing ({error}); look at the permissions of the folder"
            )
        else:
            raise damaged(folder, str(error)) from None
        raise OutputError(
            f"the gallery {folder} cannot be used: {reason}. What was in it is still there"
        ) from None


def damaged(folder: Path, what: str) -> DamagedError:
    """What is damaged, and what is to be done."""
    return DamagedError(
        f"the gallery {folder} is damaged: {what}; restore it from a copy, or save all that is intact with `intraclip "
        f"gallery check {shlex.quote(str(folder))} --out NEW`"
    )


def _gone(folder: Path) -> OutputError:
    return OutputError(f"the gallery {folder} was removed, or replaced; open it again")


def _full(folder: Path, reason: str) -> DiskFullError:
    return DiskFullError(
        f"the gallery {folder} cannot be used: {reason}; make room and try again (deletions still work). What was in "
        "it is still there"
    )


class Connections:
    """One connection that writes, and as many that read as are needed at once.

    Attributes:
        damage: the first damage that was met; empty while there was none.
        full: whether the last change found no room.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.damage = ""
        self.full = False
        self._writing = threading.RLock()
        self._lending = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._closed = False
        self._log_kept = False
        with explained(folder):
            self._writer = connect(folder)
            self._file = _identity(folder)
        keep_reserve(folder)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """As the function `explained`, and keeps in mind what happened."""
        try:
            with explained(self.folder):
                yield
        except DamagedError as error:
            self.damage = self.damage or str(error)
            raise
        except DiskFullError:
            self.full = True
            raise

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A connection for reading."""
        with self.explained():
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
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """A connection for reading that sees one moment."""
        with self.read() as db:
            db.execute("BEGIN")
            try:
                yield db
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction: everything in it is kept, or after an error nothing."""
        with self.explained():
            if not self._writing.acquire(timeout=WAIT_S):
                raise OutputError(
                    f"the gallery {self.folder} cannot be written: another thread was not done after {WAIT_S:g} s"
                )
            try:
                self._require_open()
                self._writer.execute("BEGIN IMMEDIATE")
                try:
                    if _identity(self.folder) != self._file:
                        raise _gone(self.folder)
                    yield self._writer
                    (number,) = self._writer.execute(
                        "UPDATE revisions SET number = number + 1 WHERE what = 'commits' RETURNING number"
                    ).fetchone() or (0,)
                    self._writer.execute("COMMIT")
                except BaseException:
                    if self._writer.in_transaction:
                        self._writer.execute("ROLLBACK")
                    raise
                self.full = False
                write_commits(self.folder, number)
                if self._log_kept:
                    self.empty_log()
            finally:
                self._writing.release()

    def forget(self, work: Callable[[sqlite3.Connection], Result]) -> tuple[Result, bool]:
        """A transaction that takes something back: its bytes leave the log too, and a full disk does not stop it.

        `work` is called again when the first try found no room. Returned are what it returns, and whether the log is
        empty, which another process that reads may prevent.
        """
        try:
            return self._forget(work)
        except DiskFullError:
            self.empty_log()
            if not release_reserve(self.folder):
                raise
        try:
            return self._forget(work)
        finally:
            self.empty_log()
            keep_reserve(self.folder)

    def _forget(self, work: Callable[[sqlite3.Connection], Result]) -> tuple[Result, bool]:
        with self.write() as db:
            result = work(db)
        return result, self.empty_log()

    def empty_log(self) -> bool:
        """Move the log into the database and cut it to nothing; False while a reader needs it, or the disk is full."""
        with self._writing:
            try:
                busy = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            except sqlite3.OperationalError:
                busy = 1
            self._log_kept = bool(busy)
            return not busy

    def require_usable(self) -> None:
        """Refuse a database that has gone, or a disk without room for a change, with an `OutputError`."""
        with self.read() as db:
            db.execute("SELECT count(*) FROM info").fetchone()
        if _identity(self.folder) != self._file:
            raise _gone(self.folder)
        if shutil.disk_usage(self.folder).free < SPARE_BYTES:
            raise _full(self.folder, "the disk is full")
        if self.full:  # a quota says nothing before; has there been room since?
            with self.write():
                pass

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


def _identity(folder: Path) -> tuple[int, int]:
    """Tells the database from another one under its name."""
    try:
        found = (folder / FILE).stat()
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino
