"""Writes embeddings files; `intraclip.embed.embeddings_io` says what is in them, and reads them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from intraclip.core.extras import require_extra
from intraclip.core.files import whole_file
from intraclip.embed.content import DIGEST, ContentDigest
from intraclip.errors import OutputError
from intraclip.metrics.embeddings import Embeddings

METADATA = "intraclip"
"""Name of the entry with the metadata: an array of one text in an .npz file, a key of a Parquet file's schema."""

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
    if metadata:
        arrays[METADATA] = np.array(metadata)
    digest = ContentDigest()
    digest.add({name: array for name, array in arrays.items() if name != METADATA})
    arrays[DIGEST] = np.array(digest.hexdigest(metadata))
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
