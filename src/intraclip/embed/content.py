"""A digest of what an embeddings file says, whatever kind of file says it.

The checksums of zip archives cover bytes, not what their headers make of them, and Parquet has none by default: one
damaged byte was read as other numbers. The digest is of the arrays that a reader gets.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

DIGEST = "intraclip_sha256"
"""Name of the entry that holds the digest. Files that were written before there was one have none."""


class ContentDigest:
    """SHA-256 over named arrays that come in chunks of rows.

    How the rows were divided into chunks does not matter, nor does the order of the names.
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
