"""Digests of what a folder gallery holds, so that damage is found before it becomes a wrong answer.

Every row has one (`row_digest`); a tracklet's covers digests of its boxes, vector and pictures too, which are read at
other times. The table `totals` has number and sum of each table's digests, kept by triggers, so that a row that
vanished is missed. CRC-32 finds every single damaged byte, and others but for one in four thousand million; against
somebody who writes to the folder on purpose it is no help.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from functools import cache
from sqlite3 import Connection
from typing import Any

COVERED = {
    "info": ("name", "value"),
    "documents": ("name", "text"),
    "tracklets": (
        "number", "id", "camera", "camid", "start_s", "end_s", "started_at", "num_frames", "source", "person",
        "added_at", "boxes_digest", "vector_digest", "pictures", "pictures_digest",
    ),
    "judgements": ("query", "tracklet", "same", "by", "at"),
    "audit": ("number", "at", "action", "actor", "origin", "detail"),
    "axes": ("made_for", "count", "matrix"),
}  # fmt: skip
"""Columns that a row's digest covers, by table."""

FETCH = 8_192


class Damage(Exception):
    """What is damaged, in words; `folder_database.explained` says the rest."""


@cache
def _template(count: int) -> str:
    return "\x1f".join(["%s"] * count)  # no name holds that character; a third faster than joining


def row_digest(values: Iterable[Any]) -> int:
    """Of a row's columns in the order of `COVERED`."""
    found = tuple(values)
    text = _template(len(found)) % found
    return zlib.crc32(text.encode("utf-8", "surrogatepass"))


def bytes_digest(pieces: Iterable[bytes]) -> int:
    """Of a vector, of boxes, or of a tracklet's pictures one after the other."""
    found = 0
    for piece in pieces:
        found = zlib.crc32(piece, zlib.crc32(len(piece).to_bytes(8, "little"), found))
    return found


def insert(db: Connection, table: str, values: Sequence[Any], **more: Any) -> None:
    """Insert a row of the columns of `COVERED`, with its digest; `more` are columns that it does not cover."""
    columns = (*COVERED[table], "digest", *more)
    db.execute(
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
        (*values, row_digest(values), *more.values()),
    )


def sign(db: Connection, table: str, condition: str = "1", values: Sequence[Any] = ()) -> None:
    """Compute the digests of rows that were changed."""
    rows = db.execute(
        f"SELECT rowid, {', '.join(COVERED[table])} FROM {table} WHERE {condition}", values
    ).fetchall()
    db.executemany(
        f"UPDATE {table} SET digest = ? WHERE rowid = ?", [(row_digest(row[1:]), row[0]) for row in rows]
    )


def verified(db: Connection, table: str) -> list[tuple[Any, ...]]:
    """All rows of a table, the columns of `COVERED`, in the order they were written.

    Raises:
        Damage: a row is not what was written, or one is missing.
    """
    cursor = db.execute(f"SELECT {', '.join(COVERED[table])}, digest FROM {table} NOT INDEXED ORDER BY rowid")
    rows: list[tuple[Any, ...]] = []
    total = 0
    while batch := cursor.fetchmany(FETCH):
        require_rows(table, batch)
        total += sum(row[-1] for row in batch)
        rows += [row[:-1] for row in batch]
    require_total(db, table, len(rows), total)
    return rows


def require_total(db: Connection, table: str, count: int, total: int) -> None:
    """Refuse a table that lost or gained rows.

    Raises:
        Damage: number or sum of the digests are others than were written.
    """
    written = db.execute("SELECT rows, sum FROM totals WHERE what = ?", (table,)).fetchone()
    if written != (count, total):
        there = "unknown" if written is None else f"{written[0]:,}"
        raise Damage(f"its table of {table}: {count:,} rows can be read, {there} were written")


def require_rows(table: str, rows: Iterable[tuple[Any, ...]]) -> None:
    """Refuse rows, the columns of `COVERED` and the digest, that are not what was written, as `Damage`."""
    for row in rows:
        if row_digest(row[:-1]) != row[-1]:
            number, name = row[:2]
            told = {
                "tracklets": f"the record of tracklet {name!r}",
                "audit": f"line {number} of its audit log",
            }
            raise Damage(told.get(table, f"row {number!r} of its table of {table}"))


def schema_digest(db: Connection) -> int:
    """Of the definitions of tables, indices and triggers."""
    rows = db.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name").fetchall()
    return row_digest(value for row in rows for value in row)


TRIGGERS = "".join(
    f"""
CREATE TRIGGER {table}_added AFTER INSERT ON {table} BEGIN
    UPDATE totals SET rows = rows + 1, sum = sum + NEW.digest WHERE what = '{table}'; END;
CREATE TRIGGER {table}_removed AFTER DELETE ON {table} BEGIN
    UPDATE totals SET rows = rows - 1, sum = sum - OLD.digest WHERE what = '{table}'; END;
CREATE TRIGGER {table}_signed AFTER UPDATE OF digest ON {table} BEGIN
    UPDATE totals SET sum = sum + NEW.digest - OLD.digest WHERE what = '{table}'; END;
"""
    for table in COVERED
)
TOTALS = f"""
CREATE TABLE totals (what TEXT PRIMARY KEY, rows INTEGER NOT NULL, sum INTEGER NOT NULL);
INSERT INTO totals VALUES {", ".join(f"('{table}', 0, 0)" for table in (*COVERED, "schema"))};
{TRIGGERS}
"""
