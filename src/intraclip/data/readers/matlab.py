"""Number arrays in MATLAB's files of version 5 (and 6, 7), which the published data sets keep their tables in.

The format is MathWorks', "MAT-File Format", chapter 1. A reader of our own, because scipy's ends the process at some
damaged files. Cells, structures, text, sparse and complex arrays are passed over; nobody here needs them.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

HEADER_BYTES = 128
MAX_BYTES = 1 << 28
"""Of a variable after decompression; the largest published one has 2 MB."""

_INT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 5, 6, 14, 15
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_COMPLEX = 0x800


def read_mat5(data: bytes) -> dict[str, npt.NDArray[Any]]:
    """Number arrays of a file by name.

    Args:
        data: content of the file.

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
