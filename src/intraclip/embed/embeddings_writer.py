"""Writes embeddings files; `intraclip.embed.embeddings_io` says what is in them, and reads them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from intraclip.core.extras import require_extra
from intraclip.core.files import whole_file
from intraclip.errors import OutputError
from intraclip.metrics.embeddings import Embeddings

METADATA = "intraclip"
"""Name of the entry with the metadata: an array of one text in an .npz file, a key of a Parquet file's schema."""

DIGEST = "intraclip_sha256"
"""Name of the entry that holds the digest. Files that were written before there was one have none."""

Times = npt.NDArray[np.float64]

PARQUET = (".parquet", ".pq")


def check_embeddings_name(path: Path) -> None:
    """Refuse a file name of another kind than .npz and .parquet, or Parquet without its library."""
    if path.suffix.lower() in PARQUET:
        require_extra("pyarrow.parquet", extra="parquet", purpose=f"writing {path.name}")
    elif path.suffix != ".npz":
        raise OutputError(f"{path}: embeddings are written as .npz or .parquet; choose such a name")


def save_embeddings(
    path: Path,
    embeddings: Embeddings,
    *,
    times: Times | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write one embeddings file, whole or not at all.

    Args:
        path: ending in .npz or .parquet.
        embeddings: N of them.
        times: seconds of the first and last frame in the video, ``[N, 2]``, NaN where unknown; None writes none.
        metadata: what JSON can hold; the fingerprint of the embeddings goes with it.
    """
    said = {"fingerprint": embeddings.fingerprint} if embeddings.fingerprint else {}
    save_chunks(path, [(embeddings, times)], metadata={**said, **(metadata or {})})


def save_chunks(
    path: Path,
    chunks: Iterable[tuple[Embeddings, Times | None]],
    *,
    metadata: Mapping[str, Any] | None = None,
    replace: bool = True,
) -> None:
    """Write embeddings that come in chunks to one file, as `save_embeddings`.

    Parquet holds one chunk in memory at a time, .npz all of them. At least one chunk is needed. A file that is there is
    replaced, or refused.
    """
    check_embeddings_name(path)
    write = _write_parquet if path.suffix.lower() in PARQUET else _write_npz
    # The parts it was made of are deleted next. Opened here: pyarrow takes no names that are not UTF-8.
    with whole_file(path, replace=replace) as partial, partial.open("wb") as file:
        write(file, chunks, json.dumps(metadata, sort_keys=True) if metadata else "")


def _columns(embeddings: Embeddings, times: Times | None) -> dict[str, npt.NDArray[Any]]:
    columns: dict[str, npt.NDArray[Any]] = {
        "features": embeddings.features,
        "pids": embeddings.pids,
        "camids": embeddings.camids,
        "is_query": embeddings.is_query,
        "names": np.array(embeddings.names, dtype=np.str_),
    }
    if times is not None:
        columns |= {"start_s": times[:, 0], "end_s": times[:, 1]}
    return columns


def _write_npz(file: IO[bytes], chunks: Iterable[tuple[Embeddings, Times | None]], metadata: str) -> None:
    columns = [_columns(*chunk) for chunk in chunks]
    arrays = {name: np.concatenate([c[name] for c in columns]) for name in columns[0]}
    arrays[DIGEST] = np.array(content_digest(arrays, metadata))
    if metadata:
        arrays[METADATA] = np.array(metadata)
    np.savez(file, allow_pickle=False, **arrays)


def _write_parquet(file: IO[bytes], chunks: Iterable[tuple[Embeddings, Times | None]], metadata: str) -> None:
    arrow = require_extra("pyarrow", extra="parquet", purpose="writing Parquet")
    parquet = require_extra("pyarrow.parquet", extra="parquet", purpose="writing Parquet")
    writer, digest = None, ContentDigest()
    with ExitStack() as stack:
        for embeddings, times in chunks:
            columns = _columns(embeddings, times)
            digest.add(columns)
            features = columns.pop("features")
            vectors = arrow.FixedSizeListArray.from_arrays(features.reshape(-1), features.shape[1])
            if not embeddings.names:
                del columns["names"]
            table = arrow.table({"features": vectors, **columns})
            if metadata:
                table = table.replace_schema_metadata({METADATA: metadata})
            writer = writer or stack.enter_context(parquet.ParquetWriter(file, table.schema))
            writer.write_table(table)
        if writer is not None:
            writer.add_key_value_metadata({DIGEST: digest.hexdigest(metadata)})


def content_digest(arrays: Mapping[str, npt.NDArray[Any]], text: str) -> str:
    """SHA-256 over named arrays, and a text beside them; see `ContentDigest`."""
    found = ContentDigest()
    found.add(arrays)
    return found.hexdigest(text)


class ContentDigest:
    """SHA-256 over named arrays that come in chunks of rows, whatever kind of file they go to.

    The checksums of zip archives cover bytes, not what their headers make of them, and Parquet has none by default: one
    damaged byte was read as other numbers. This is of the arrays that a reader gets. How the rows were divided into
    chunks does not matter, nor does the order of the names.
    """

    def __init__(self) -> None:
        self._columns: dict[str, Any] = {}
        self._shapes: dict[str, list[Any]] = {}

    def add(self, columns: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take the next rows; columns without rows are left out."""
        for name, array in columns.items():
            if not array.size:
                continue
            found = self._columns.setdefault(name, hashlib.sha256())
            kind = "text" if array.dtype.kind == "U" else array.dtype.newbyteorder("=").str[1:]
            shape = self._shapes.setdefault(name, [kind, 0, list(array.shape[1:])])
            shape[1] += len(array)
            if kind == "text":  # of any width in memory
                for text in array.ravel().tolist():
                    raw = text.encode("utf-8", "surrogatepass")
                    found.update(f"{len(raw)} ".encode() + raw)
            else:
                found.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)

    def hexdigest(self, text: str = "") -> str:
        """The digest of all rows so far, and of a text beside them."""
        whole = hashlib.sha256()
        for name in sorted(self._columns):
            whole.update(f"{name} {self._shapes[name]} {self._columns[name].hexdigest()}\n".encode())
        whole.update(text.encode("utf-8", "surrogatepass"))
        return whole.hexdigest()
