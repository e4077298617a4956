"""Number arrays in MATLAB's files of version 5 (and 6, 7), which the published data sets keep their tables in.

The format is MathWorks', "MAT-File Format", chapter 1. A reader of our own, because scipy's ends the process at some
damaged files. Cells, structures, text, sparse and complex arrays are passed over; nobody here needs them.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from intraclip.core.extras import require_extra
from intraclip.errors import DataError

HEADER_BYTES = 128
MAX_BYTES = 1 << 28
"""Of a variable after decompression; the largest published one has 2 MB."""

_INT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 5, 6, 14, 15
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_COMPLEX = 0x800


def load_mat(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Number arrays of a MATLAB file of version 5 or later.

    Version 7.3 files are HDF5, which stores arrays transposed; they come back the right way round.

    Raises:
        DataError: the file is missing, truncated or no MATLAB file.
        MissingExtraError: a version 7.3 file, and h5py is not installed.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing")
    with path.open("rb") as file:
        start = file.read(128)
    if b"MATLAB 7.3" in start or start.startswith(b"\x89HDF"):
        h5py = require_extra("h5py", extra="lsvid", purpose=f"{path.name} is a MATLAB 7.3 file")
        try:
            with h5py.File(path, "r") as store:
                # Names with # are MATLAB's own groups; nothing but plain arrays is wanted.
                return {
                    name: np.asarray(node[()]).T
                    for name, node in store.items()
                    if isinstance(node, h5py.Dataset)
                }
        except Exception as error:  # h5py raises whatever HDF5 stumbles on in a damaged file
            raise DataError(f"{path} cannot be read, it is truncated or damaged ({error})") from None
    try:
        return read_mat5(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read, it is truncated or no MATLAB file ({error})") from None


def mat_table(path: Path, variable: str) -> npt.NDArray[np.int64]:
    """One integer array of a MATLAB file, widened to int64 (the files hold uint16 and int32).

    Raises:
        DataError: as `load_mat`; the variable is not there; it does not hold whole numbers.
    """
    arrays = load_mat(path)
    if variable not in arrays:
        raise DataError(f"{path} holds {sorted(arrays) or 'no arrays'}, expected the variable {variable!r}")
    array = arrays[variable]
    if not np.issubdtype(array.dtype, np.number) or np.issubdtype(array.dtype, np.complexfloating):
        raise DataError(f"{path}: {variable} holds {array.dtype}, expected whole numbers")
    with np.errstate(invalid="ignore"):  # NaN and numbers without a place become others, which is seen below
        wide = array.astype(np.int64)
    if not np.array_equal(wide, array):
        raise DataError(f"{path}: {variable} holds fractions or NaN, expected whole numbers")
    return wide


def read_mat5(data: bytes) -> dict[str, npt.NDArray[Any]]:
    """Number arrays of a file's content by name.

    Raises:
        ValueError: it is of another kind, or damaged.
    """
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if len(data) < HEADER_BYTES or order is None:
        raise ValueError("it does not begin like a file of MATLAB 5 or later")
    found: dict[str, npt.NDArray[Any]] = {}
    for kind, content in _elements(memoryview(data)[HEADER_BYTES:], order):
        if kind == _COMPRESSED:
            inflate = zlib.decompressobj()
            try:
                whole = inflate.decompress(content, MAX_BYTES)
            except zlib.error as error:
                raise ValueError(str(error)) from None
            if not inflate.eof:
                raise ValueError("a compressed variable is cut off or too large")
            elements = list(_elements(memoryview(whole), order))
        else:
            elements = [(kind, content)]
        for inner, matrix in elements:
            if inner == _MATRIX:
                found |= _array(matrix, order)
    return found


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Types and contents of the elements that lie one after the other."""
    place = 0
    while place + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, place)
        if kind >> 16:  # a small element: up to four bytes in the tag itself
            kind, size, start, step = kind & 0xFFFF, kind >> 16, place + 4, 8
        else:
            start, step = place + 8, 8 + (size if kind == _COMPRESSED else -(-size // 8) * 8)
        if size > len(data) - start or (step == 8 and size > 4):
            raise ValueError(f"an element of {size:,} bytes goes beyond the end")
        yield kind, data[start : start + size]
        place += step
    if any(data[place:]):
        raise ValueError("it is cut off within an element")


def _array(matrix: memoryview, order: str) -> dict[str, npt.NDArray[Any]]:
    """The array of a matrix element by its name; nothing if it does not hold plain numbers."""
    parts = list(_elements(matrix, order))
    if len(parts) < 3 or [kind for kind, _ in parts[:3]] != [_UINT32, _INT32, _INT8]:
        raise ValueError("a variable does not begin with flags, dimensions and a name")
    if len(parts[0][1]) < 4:
        raise ValueError("a variable has no class")
    (flags,) = struct.unpack_from(f"{order}I", parts[0][1])
    if flags & 0xFF not in _CLASSES or flags & _COMPLEX:
        return {}
    shape = tuple(np.frombuffer(parts[1][1], f"{order}i4").tolist())
    name = bytes(parts[2][1]).decode("ascii", errors="replace")
    if len(parts) != 4 or parts[3][0] not in _STORED or len(shape) < 2 or min(shape) < 0:
        raise ValueError(f"the variable {name!r} holds no array of numbers of shape {list(shape)}")
    # Numbers are stored in the smallest type that holds them all, whatever their class.
    values = np.frombuffer(parts[3][1], f"{order}{_STORED[parts[3][0]]}")
    if len(values) != math.prod(shape):
        raise ValueError(f"the variable {name!r} holds {len(values):,} numbers for the shape {list(shape)}")
    return {name: values.astype(_CLASSES[flags & 0xFF]).reshape(shape, order="F")}
