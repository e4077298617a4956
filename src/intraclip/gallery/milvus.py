"""A gallery on a Milvus server: for galleries that outgrow one machine, or that many machines search.

Three collections: NAME has a row a tracklet; NAME_pictures has the pictures, in base64 pieces, because a text of
Milvus holds 65,535 bytes; NAME_notes has what else a gallery knows. A tracklet is there when its row in NAME is:
pictures are written before it. Deletion goes the other way round in one respect: pictures go first, so that after a
crash the tracklet is still found, and the deletion can be repeated.

Searches and lists see what any process wrote before; a single record, picture or calibration that another process
changed may show up a moment later. Credentials come from the environment variable
``INTRACLIP_MILVUS_TOKEN`` ("user:password" or a token), never from the address, which is printed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from intraclip.errors import DataError, OutputError
from intraclip.gallery import milvus_server as server
from intraclip.gallery.milvus_server import Server, quoted
from intraclip.gallery.papers import is_paper, without
from intraclip.gallery.records import (
    AuditEntry,
    Counts,
    Filters,
    GalleryInfo,
    Judgement,
    Pictures,
    TrackletRecord,
)
from intraclip.gallery.store import Brief, Nearest, Removed, Store, Vectors

FORMAT_VERSION = 1
"""Collections of another version are refused."""

SPARE = 32
"""Candidates beyond those wanted; `Gallery` measures their distances again."""

UNKNOWN = 1e300
"""Stands for a time that is not known; Milvus 2.3 has no empty values."""

PIECE = 65_532
"""Bytes of base64 in a row; whole groups of four, so that every piece can be read on its own."""

BOX_BYTES = 65_000
ORPHAN_S = 3600.0
"""Age in seconds from which pictures without a tracklet are what a crash left behind, not an addition under way."""

_CHUNK = 1_000
_ROW_BYTES = 4_000_000
"""Bytes sent in one call."""


def create_store(info: GalleryInfo) -> MilvusStore:
    """Create the collections of an empty gallery."""
    info = replace(info, format_version=FORMAT_VERSION)
    connection = Server(info.address)
    connection.create(info.dimension)
    store = MilvusStore(connection, info)
    store.put_note("info", "", json.dumps(asdict(info)))
    return store


def open_store(address: str) -> MilvusStore:
    """Open the gallery at an address.

    Raises:
        DataError: there is none, or one of another version.
    """
    connection = Server(address)
    connection.require()
    rows = connection.query(server.NOTES, 'kind == "info"', ["text"])
    if not rows:
        connection.close()
        raise DataError(f"{address}: these collections are no gallery, or one that was never finished")
    found = json.loads(rows[0]["text"])
    if found["format_version"] != FORMAT_VERSION:
        connection.close()
        raise DataError(
            f"the gallery {address} has format version {found['format_version']}, this intraclip reads "
            f"{FORMAT_VERSION}; use the intraclip that wrote it, or add its tracklets to a new gallery"
        )
    return MilvusStore(connection, GalleryInfo(**{**found, "address": address}))


def is_taken(address: str) -> bool:
    """Whether there are collections of that name."""
    with closing(Server(address)) as connection:
        return bool(connection.existing())


class MilvusStore(Store):
    """A `Store` on a server."""

    def __init__(self, connection: Server, info: GalleryInfo) -> None:
        self.info = info
        self._server = connection

    def close(self) -> None:
        self._server.close()

    # -- writing -------------------------------------------------------------------------------------------

    def insert(
        self, records: Sequence[TrackletRecord], vectors: Vectors, pictures: Sequence[Pictures]
    ) -> None:
        if there := self.records([r.id for r in records]):
            raise DataError(f"tracklet {next(iter(there))!r} is in the gallery {self.info.address} already")
        self._upsert(
            server.PICTURES,
            (row for r, p in zip(records, pictures, strict=True) for row in _picture_rows(r.id, p)),
        )
        # One call where it fits: Milvus takes a call's rows together.
        self._upsert(
            server.TRACKLETS,
            ({**_row(r), "vector": v.tolist()} for r, v in zip(records, vectors, strict=True)),
        )

    def _upsert(self, collection: str, rows: Iterator[dict[str, Any]]) -> None:
        batch: list[dict[str, Any]] = []
        size = 0
        for row in rows:
            batch.append(row)
            size += len(row.get("data", "")) + len(row.get("boxes", "")) + 4 * len(row["vector"]) + 200
            if size > _ROW_BYTES:
                self._server.upsert(collection, batch)
                batch, size = [], 0
        if batch:
            self._server.upsert(collection, batch)

    def remove(self, ids: Sequence[str], *, dry_run: bool) -> Removed:
        gone = set(ids)
        about = [j for j in self.judgements() if j.query in gone or j.tracklet in gone]
        pictures = sum(
            len(self._server.query(server.PICTURES, f"{_any('tracklet', part)} and piece == 0", ["place"]))
            for part in _parts(ids)
        )
        if dry_run or not ids:
            return Removed(pictures, len(about), True, "")
        for part in _parts(ids):
            self._server.delete(server.PICTURES, _any("tracklet", part))
        for judgement in about:
            self.drop_judgement(judgement.query, judgement.tracklet)
        for name, text in self.documents("").items():
            if is_paper(name) and (left := without(text, gone)) != text:
                self.put_document(name, left)
        for part in _parts(ids):
            self._server.delete(server.TRACKLETS, _any("id", part))
        self._server.flush()
        self._server.compact()
        return Removed(
            pictures,
            len(about),
            False,
            "no search finds them any more; the server frees their bytes when it has compacted its segments, as its "
            "own retention settings say",
        )

    def set_person(self, ids: Sequence[str], person: str) -> None:
        rows = self._rows(server.TRACKLETS, "id", ids, ["*", "vector"])
        changed = ({**row, "vector": list(row["vector"]), "person": person} for row in rows)
        self._upsert(server.TRACKLETS, changed)

    def put_judgement(self, judgement: Judgement) -> None:
        self.put_note("judgement", _pair(judgement.query, judgement.tracklet), json.dumps(asdict(judgement)))

    def drop_judgement(self, query: str, tracklet: str) -> bool:
        key = f"judgement:{_pair(query, tracklet)}"
        there = bool(self._server.query(server.NOTES, f"key == {quoted(key)}", ["key"]))
        self._server.delete(server.NOTES, f"key in [{quoted(key)}]")
        return there

    def append_audit(self, entry: AuditEntry, *, essential: bool) -> None:
        number = time.time_ns()
        line = asdict(replace(entry, number=number))
        self.put_note("audit", f"{number:020d}", json.dumps(line), number=number)

    def put_document(self, name: str, text: str | None) -> None:
        if text is None:
            self._server.delete(server.NOTES, f"key in [{quoted(f'document:{name}')}]")
        else:
            self.put_note("document", name, text)

    def add_document(self, name: str, text: str) -> bool:
        """See `Store`. Of two processes that do so within a few milliseconds, a server can let both believe it."""
        if self.document(name) is not None:
            return False
        self.put_document(name, text)
        return True

    def put_note(self, kind: str, key: str, text: str, *, number: int = 0) -> None:
        """Keep a text under a key; an earlier one is replaced."""
        if len(text.encode()) > PIECE:
            raise OutputError(
                f"{kind} {key} has {len(text):,} characters; a note on a Milvus server holds {PIECE:,}"
            )
        note = {"key": f"{kind}:{key}", "kind": kind, "number": number, "text": text, "vector": [0.0, 0.0]}
        self._server.upsert(server.NOTES, [note])

    # -- reading -------------------------------------------------------------------------------------------

    def _rows(
        self, collection: str, field: str, values: Sequence[str], wanted: Sequence[str]
    ) -> Iterator[dict[str, Any]]:
        """Rows in which a field has one of any number of values."""
        for part in _parts(values):
            yield from self._server.query(collection, _any(field, part), wanted)

    def records(self, ids: Sequence[str]) -> dict[str, TrackletRecord]:
        return {row["id"]: _record(row) for row in self._rows(server.TRACKLETS, "id", ids, ["*"])}

    def vectors(self, ids: Sequence[str]) -> dict[str, Vectors]:
        return {
            row["id"]: np.asarray(row["vector"], dtype=np.float32)
            for row in self._rows(server.TRACKLETS, "id", ids, ["id", "vector"])
        }

    def pictures(self, tracklet: str) -> Pictures:
        rows = self._server.query(
            server.PICTURES, f"tracklet == {quoted(tracklet)}", ["place", "piece", "data"]
        )
        found: dict[int, bytes] = {}
        for row in sorted(rows, key=lambda r: (r["place"], r["piece"])):
            found[row["place"]] = found.get(row["place"], b"") + base64.b64decode(row["data"])
        return Pictures(strip=found.pop(0, b""), crops=tuple(found[place] for place in sorted(found)))

    def nearest(self, query: Vectors, *, k: int, filters: Filters) -> Nearest:
        hits = self._server.search(query, k + SPARE, expression(filters))
        vectors = np.array([hit["vector"] for hit in hits], dtype=np.float32)
        return Nearest([hit["id"] for hit in hits], vectors.reshape(-1, self.info.dimension), True)

    def page(self, filters: Filters, *, limit: int, after: str) -> list[TrackletRecord]:
        rows = self._server.ordered(
            server.TRACKLETS, "id", expression(filters), ["*"], after=after, limit=limit
        )
        return [_record(row) for row in rows]

    def select(self, filters: Filters) -> list[Brief]:
        rows = self._all(filters, ["id", "camera", "person"])
        return [Brief(row["id"], row["camera"], row["person"]) for row in rows]

    def _all(self, filters: Filters, fields: Sequence[str]) -> Iterator[dict[str, Any]]:
        return self._server.walk(server.TRACKLETS, "id", expression(filters), fields)

    def judgements(self) -> list[Judgement]:
        rows = self._server.walk(server.NOTES, "key", 'kind == "judgement"', ["text"])
        return sorted((Judgement(**json.loads(row["text"])) for row in rows), key=lambda j: j.at)

    def audit(self, *, limit: int, before: int | None) -> list[AuditEntry]:
        newest = f'kind == "audit" and number < {2**62 if before is None else before}'
        rows = sorted(self._server.walk(server.NOTES, "key", newest, ["number"]), key=lambda r: -r["number"])[
            :limit
        ]
        keys = [f"audit:{row['number']:020d}" for row in rows]
        lines = [
            AuditEntry(**json.loads(row["text"])) for row in self._rows(server.NOTES, "key", keys, ["text"])
        ]
        return sorted(lines, key=lambda line: -line.number)

    def document(self, name: str) -> str | None:
        rows = self._server.query(server.NOTES, f"key == {quoted(f'document:{name}')}", ["text"])
        return str(rows[0]["text"]) if rows else None

    def documents(
        self, prefix: str, *, after: str = "", newest: bool = False, limit: int = 0
    ) -> dict[str, str]:
        rows = self._server.walk(server.NOTES, "key", 'kind == "document"', ["key", "text"])
        found = {str(row["key"]).removeprefix("document:"): str(row["text"]) for row in rows}
        names = sorted((n for n in found if n.startswith(prefix) and n > after), reverse=newest)
        return {name: found[name] for name in names[: limit or None]}

    def counts(self) -> Counts:
        names: dict[str, Counter[str]] = {"camera": Counter(), "person": Counter(), "source": Counter()}
        times: dict[str, list[float]] = {"start_s": [], "end_s": [], "started_at": []}
        for row in self._all(Filters(), ["id", *names, *times]):
            for name, counter in names.items():
                counter[row[name]] += 1
            for name, values in times.items():
                if row[name] != UNKNOWN:
                    values.append(row[name])
        names["person"].pop("", None)
        return Counts(
            tracklets=names["camera"].total(),
            cameras=dict(sorted(names["camera"].items())),
            people=dict(sorted(names["person"].items())),
            sources=dict(sorted(names["source"].items())),
            start_s=min(times["start_s"], default=None),
            end_s=max(times["end_s"], default=None),
            started_at=min(times["started_at"], default=None),
            ended_at=max(times["started_at"], default=None),
            judgements=len(self.judgements()),
            size_bytes=None,
            index=server.INDEX,
        )

    def build_index(self) -> str:
        """Flush, so that searches are fast; and remove pictures that a crash left without a tracklet."""
        self._server.flush()
        now = time.time()
        # Also those that a wrong clock put ahead of the present.
        old = f"piece == 0 and place == 0 and (at < {now - ORPHAN_S} or at > {now + ORPHAN_S})"
        orphans = [row["tracklet"] for row in self._server.walk(server.PICTURES, "key", old, ["tracklet"])]
        for part in _parts(sorted(set(orphans))):
            there = self.records(part)
            if lost := [i for i in part if i not in there]:
                self._server.delete(server.PICTURES, _any("tracklet", lost))
        return server.INDEX

    def linked_alone(self) -> AbstractContextManager[None]:
        """See `Store`; a server has no locks."""
        return nullcontext()

    def ready(self) -> None:
        self._server.require()

    def check(self) -> list[str]:
        """See `Store`; the server has checksums of its own, so everything is read, and that is all."""
        rows = list(self._all(Filters(), ["*", "vector"]))
        return [f"the vector of tracklet {r['id']!r}" for r in rows if not np.isfinite(r["vector"]).all()]

    def discard(self) -> bool:
        if self._server.ordered(server.TRACKLETS, "id", "", ["id"], after="", limit=1):
            return False
        self._server.drop()
        self.close()
        return True


def expression(filters: Filters) -> str:
    """Filters in Milvus's language; empty for all."""
    parts: list[str] = []
    for name, texts, inside in filters.texts():
        one_of = _any(name, sorted(texts)) if texts else 'id == ""'
        parts.append(one_of if inside else f"not ({one_of})")
    for name, sign, value in filters.times():
        parts.append(f"{name} != {UNKNOWN!r} and {name} {sign} {float(value)!r}")
    return " and ".join(f"({part})" for part in parts)


def _any(field: str, values: Sequence[str]) -> str:
    return f"{field} in [{', '.join(map(quoted, values))}]"


def _parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + _CHUNK] for start in range(0, len(ids), _CHUNK))


def _pair(a: str, b: str) -> str:
    return hashlib.sha256(json.dumps(sorted((a, b))).encode()).hexdigest()


def _row(record: TrackletRecord) -> dict[str, Any]:
    def known(*values: float | None) -> float:
        return next((float(v) for v in values if v is not None), UNKNOWN)

    length = 0.0 if record.start_s is None or record.end_s is None else record.end_s - record.start_s
    boxes = record.boxes
    while len(text := json.dumps(boxes)) > BOX_BYTES:
        # A text of Milvus holds no more; every other frame still shows where the person went.
        boxes = boxes[::2]
    return {
        **record.to_json_dict(),
        "start_s": known(record.start_s),
        "end_s": known(record.end_s),
        "started_at": known(record.started_at),
        "first_s": known(record.start_s, record.end_s),
        "last_s": known(record.end_s, record.start_s),
        "last_at": UNKNOWN if record.started_at is None else record.started_at + length,
        "seen_at": record.seen_at,
        "boxes": text,
    }


def _record(row: Mapping[str, Any]) -> TrackletRecord:
    times = {n: None if row[n] == UNKNOWN else float(row[n]) for n in ("start_s", "end_s", "started_at")}
    return TrackletRecord.from_json_dict({**row, **times, "boxes": json.loads(row["boxes"])})


def _picture_rows(tracklet: str, pictures: Pictures) -> Iterator[dict[str, Any]]:
    now = time.time()
    for place, jpeg in enumerate((pictures.strip, *pictures.crops)):
        text = base64.b64encode(jpeg).decode()
        for piece, start in enumerate(range(0, len(text), PIECE)):
            yield {
                "key": f"{tracklet}/{place}/{piece}",
                "tracklet": tracklet,
                "place": place,
                "piece": piece,
                "at": now,
                "data": text[start : start + PIECE],
                "vector": [0.0, 0.0],
            }
