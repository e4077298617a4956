"""The calls to a Milvus server that `intraclip.gallery.milvus` makes, and what their errors mean."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from intraclip.core.extras import require_extra
from intraclip.errors import ConfigError, DataError, OutputError
from intraclip.gallery.records import MAX_ID_BYTES

TRACKLETS, PICTURES, NOTES = "", "_pictures", "_notes"
"""What the names of the three collections end in."""

INDEX = "FLAT on the server, every tracklet is compared"
TOKEN = "INTRACLIP_MILVUS_TOKEN"
TIMEOUT_S = 30.0
TEXT_BYTES = 65_535
BATCH = 8_192
"""Rows of a query; Milvus gives 16,384 at most."""

_ADDRESS = re.compile(r"milvus\+(https?)://([^/@\s]+)/([A-Za-z_][A-Za-z0-9_]{0,200})")


class Server:
    """A connection to the collections of one gallery.

    Raises:
        ConfigError: the address has another form.
        OutputError: the server does not answer.
    """

    def __init__(self, address: str) -> None:
        match = _ADDRESS.fullmatch(address)
        if match is None:
            raise ConfigError(
                f"{address!r} is no address of a gallery; a folder is, or milvus+http://host:19530/name with a name of "
                f"letters, digits and _; credentials go into the environment variable {TOKEN}"
            )
        self.address = address
        self.name = match[3]
        self._milvus = require_extra("pymilvus", extra="milvus", purpose=f"the gallery {address}")
        self._client: Any = self._call(
            self._milvus.MilvusClient,
            uri=f"{match[1]}://{match[2]}",
            token=os.environ.get(TOKEN, ""),
            timeout=TIMEOUT_S,
        )

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    # -- collections ---------------------------------------------------------------------------------------

    def existing(self) -> list[str]:
        """Those of the three collections that are there."""
        return [n for n in self._names() if self._call(self._client.has_collection, n)]

    def require(self) -> None:
        """Refuse a name without collections, and load them: after a restart a server has them on disk only.

        Raises:
            DataError: there is no gallery of that name.
        """
        there = self.existing()
        missing = [n for n in self._names() if n not in there]
        if missing:
            raise DataError(
                f"there is no gallery {self.address}: the server has no collection {missing[0]}; make one with "
                f"`intraclip gallery add {self.address} --data TRACKLETS ...`"
            )
        for name in self._names():
            self._call(self._client.load_collection, name)

    def create(self, dimension: int) -> None:
        """Make the collections.

        Raises:
            OutputError: one of that name is there.
        """
        if there := self.existing():
            raise OutputError(
                f"the server of {self.address} has a collection {there[0]} already; choose another name"
            )
        text, number, real = "VARCHAR", "INT64", "DOUBLE"
        names = {"camera": text, "source": text, "person": text}
        times = ("start_s", "end_s", "started_at", "first_s", "last_s", "last_at", "seen_at", "added_at")
        counts = {"camid": number, "num_frames": number}
        self._create(
            TRACKLETS, "id", dimension, {**names, **counts, **dict.fromkeys(times, real)}, long=("boxes",)
        )
        pieces = {"tracklet": text, "place": number, "piece": number, "at": real}
        self._create(PICTURES, "key", 2, pieces, long=("data",))
        self._create(NOTES, "key", 2, {"kind": text, "number": number}, long=("text",))

    def _create(
        self, collection: str, key: str, dimension: int, fields: Mapping[str, str], *, long: Sequence[str]
    ) -> None:
        kinds = self._milvus.DataType
        schema = self._client.create_schema(auto_id=False, enable_dynamic_field=False)
        # A picture's key is a tracklet's id with two numbers.
        schema.add_field(key, kinds.VARCHAR, is_primary=True, max_length=MAX_ID_BYTES + 64)
        schema.add_field("vector", kinds.FLOAT_VECTOR, dim=dimension)
        for name, kind in fields.items():
            limit = {"max_length": MAX_ID_BYTES} if kind == "VARCHAR" else {}
            schema.add_field(name, getattr(kinds, kind), **limit)
        for name in long:
            schema.add_field(name, kinds.VARCHAR, max_length=TEXT_BYTES)
        index = self._client.prepare_index_params()
        # L2 serves both metrics: it orders vectors of length 1 as the cosine does.
        index.add_index("vector", index_type="FLAT", metric_type="L2")
        self._call(
            self._client.create_collection,
            self.name + collection,
            schema=schema,
            index_params=index,
            consistency_level="Strong",
        )

    def drop(self) -> None:
        """Drop the collections with all that is in them."""
        for name in self._names():
            self._call(self._client.drop_collection, name)

    def _names(self) -> list[str]:
        return [self.name + ending for ending in (TRACKLETS, PICTURES, NOTES)]

    # -- rows ----------------------------------------------------------------------------------------------

    def upsert(self, collection: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write rows; those with a key that is there are replaced."""
        self._call(self._client.upsert, self.name + collection, list(rows))

    def delete(self, collection: str, condition: str) -> None:
        """Delete rows, and wait until this process finds them no more: pymilvus forgets deletions in a session."""
        self._call(self._client.delete, self.name + collection, filter=condition)
        self.query(collection, condition, ["vector"], limit=1, strong=True)

    def flush(self) -> None:
        """Seal what was written; until then queries are slow."""
        for name in self._names():
            self._call(self._client.flush, name)

    def compact(self) -> None:
        """Ask the server to drop the bytes of deleted rows."""
        for name in self._names():
            self._call(self._client.compact, name)

    def search(self, query: npt.NDArray[np.float32], limit: int, condition: str) -> list[dict[str, Any]]:
        """The nearest tracklets, with id and vector."""
        found = self._call(
            self._client.search,
            self.name,
            data=[query.tolist()],
            anns_field="vector",
            limit=limit,
            filter=condition,
            output_fields=["id", "vector"],
            consistency_level="Strong",
        )
        return [dict(hit["entity"]) for hit in found[0]]

    def query(
        self,
        collection: str,
        condition: str,
        fields: Sequence[str],
        *,
        limit: int = 16_384,
        strong: bool = False,
    ) -> list[dict[str, Any]]:
        """Rows that fulfil a condition, in no order.

        Strong consistency shows what any process wrote before, and costs 0.2 s of waiting for the server's clock; else
        this process sees what it wrote itself.
        """
        rows = self._call(
            self._client.query,
            self.name + collection,
            filter=condition,
            output_fields=list(fields),
            limit=limit,
            consistency_level="Strong" if strong else "Session",
        )
        return [dict(row) for row in rows]

    def ordered(
        self, collection: str, key: str, condition: str, fields: Sequence[str], *, after: str, limit: int
    ) -> list[dict[str, Any]]:
        """The first rows beyond a key, in order of their keys; Milvus merges what has a limit by primary key."""
        beyond = f"{key} > {quoted(after)}"
        whole = f"{beyond} and {condition}" if condition else beyond
        rows = self.query(
            collection, whole, [key, *(f for f in fields if f != key)], limit=limit, strong=True
        )
        return sorted(rows, key=lambda row: str(row[key]))

    def walk(
        self, collection: str, key: str, condition: str, fields: Sequence[str]
    ) -> Iterator[dict[str, Any]]:
        """All rows, in order of their keys."""
        after = ""
        while True:
            rows = self.ordered(collection, key, condition, fields, after=after, limit=BATCH)
            yield from rows
            if len(rows) < BATCH:
                return
            after = str(rows[-1][key])

    def _call(self, action: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Do something on the server, or say in plain words why not."""
        try:
            return action(*args, **options)
        except self._milvus.MilvusException as error:
            reason = str(getattr(error, "message", error)).splitlines()[0][:300]
            raise OutputError(
                f"the server of the gallery {self.address} does not do it: {reason}; is it running, and reachable?"
            ) from None


def quoted(text: str) -> str:
    """A text in Milvus's filter language."""
    return json.dumps(text, ensure_ascii=False)
