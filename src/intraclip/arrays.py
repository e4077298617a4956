"""What callers hand in as numbers: NumPy arrays, torch tensors on any device, lists. Taken, or refused truthfully.

`np.asarray` alone fails on a tensor with a gradient, on a GPU, or in bfloat16, and turns a ragged list or a masked
array into something that looks like another fault later on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from intraclip.errors import DataError

_EXACT = 2.0**53
"""Whole numbers above this have gaps in float64."""


def as_array(values: Any, *, name: str) -> npt.NDArray[Any]:
    """An array of whatever holds numbers; arrays and tensors on the CPU are not copied.

    Args:
        values: array, tensor (with or without gradient, on any device), number, or lists of them.
        name: what they are called in messages.

    Raises:
        DataError: lists of differing lengths, masked entries, or something that is no numbers at all.

    >>> as_array([[1, 2], [3, 4]], name="features").shape
    (2, 2)
    """
    masked = int(np.ma.getmaskarray(values).sum()) if isinstance(values, np.ma.MaskedArray) else 0
    if masked:
        raise DataError(f"{name} has {masked:,} masked entries; every one needs a value")
    values = _without_tensors(values)
    try:
        found = np.asarray(values)
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:
        raise DataError(f"{name} ({type(values).__name__}) makes no array: {error}") from None
    if found.dtype.kind in "OV":
        raise DataError(f"{name} ({type(values).__name__}) holds objects, numbers are needed")
    return found


def as_reals(values: Any, *, name: str) -> npt.NDArray[np.float32]:
    """Real numbers as float32, of the shape they have. NaN and infinity stay what they are.

    Raises:
        DataError: as `as_array`; not real numbers; or a finite value beyond float32.
    """
    found = as_array(values, name=name)
    if found.dtype == np.float32:
        return found
    if found.dtype.kind not in "fiu" and found.size:
        raise DataError(f"{name} holds {found.dtype}, real numbers are needed")
    with np.errstate(over="ignore"):  # said below
        narrow = found.astype(np.float32)
    beyond = int((np.isinf(narrow) & np.isfinite(found)).sum()) if found.dtype.kind == "f" else 0
    if beyond:
        raise DataError(f"{name} holds {beyond:,} values beyond float32; scale them down")
    return narrow


def as_wide(values: Any, *, name: str) -> npt.NDArray[np.float64]:
    """Real numbers as float64, of the shape they have. NaN and infinity stay what they are.

    Raises:
        DataError: as `as_array`, or not real numbers.
    """
    found = as_array(values, name=name)
    if found.dtype.kind not in "fiu" and found.size:
        raise DataError(f"{name} holds {found.dtype}, real numbers are needed")
    return found.astype(np.float64, copy=False)


def as_whole(values: Any, *, name: str) -> npt.NDArray[np.int64]:
    """Whole numbers as int64, of the shape they have; floats that are whole are taken.

    Raises:
        DataError: as `as_array`; not whole numbers; or one beyond int64.
    """
    found = as_array(values, name=name)
    if found.dtype == np.int64:
        return found
    if not found.size:
        return found.astype(np.int64)
    if found.dtype.kind == "u" and found.max() > np.iinfo(np.int64).max:
        raise DataError(f"{name} holds {found.max()}, which is beyond int64")
    if found.dtype.kind == "f":
        bad = ~(np.isfinite(found) & (np.abs(found) <= _EXACT)) | (found != np.floor(found))
        if bad.any():
            rows = np.nonzero(np.atleast_1d(bad))[0]
            such = _some([f"{value} in row {row}" for value, row in zip(found[bad], rows, strict=True)])
            raise DataError(
                f"{name} holds {found.dtype} and {len(rows):,} of {found.size:,} values are no whole numbers: {such}"
            )
    elif found.dtype.kind not in "iu":
        raise DataError(f"{name} holds {found.dtype}, whole numbers are needed")
    return found.astype(np.int64)


def as_flags(values: Any, *, name: str) -> npt.NDArray[np.bool_]:
    """True and false, or 1 and 0, as bool, of the shape they have.

    Raises:
        DataError: as `as_array`; or anything else. Text is never guessed at: ``bool("False")`` is true.
    """
    found = as_array(values, name=name)
    if found.dtype == np.bool_:
        return found
    if found.dtype.kind not in "iuf":
        raise DataError(f"{name} holds {found.dtype}; true and false, or 1 and 0, are needed")
    if not np.isin(found, (0, 1)).all():
        other = _some([str(value) for value in np.unique(found) if value not in (0, 1)])
        raise DataError(f"{name} holds {other}; nothing but 1 and 0, true and false, is allowed")
    return found.astype(np.bool_)


def _some(values: list[str]) -> str:
    more = f" and {len(values) - 5:,} more" if len(values) > 5 else ""
    return ", ".join(values[:5]) + more


def as_picture(values: Any, *, name: str) -> npt.NDArray[np.uint8]:
    """A picture, uint8 ``[h, w, 3]`` in RGB, as an array.

    Raises:
        DataError: as `as_array`, or another type or shape.
    """
    found = as_array(values, name=name)
    if found.dtype != np.uint8 or found.ndim != 3 or found.shape[2] != 3 or 0 in found.shape:
        planes = found.ndim == 3 and found.shape[0] == 3
        raise DataError(
            f"{name} is {found.dtype} {list(found.shape)}, uint8 [h, w, 3] in RGB is needed"
            + ("; move the colours to the end" if planes else "")
        )
    return found


def unit(vectors: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Vectors ``[..., F]`` scaled to length 1.

    >>> unit(np.array([[3.0, 4.0]])).tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)


def as_item(value: Any) -> Any:
    """The Python value of a NumPy number or of a tensor or array with one element and no axes; others as they are.

    >>> as_item(np.int64(7)), as_item(np.array(7)), as_item("a")
    (7, 7, 'a')
    """
    return value.item() if _is_array(value) and getattr(value, "ndim", 1) == 0 else value


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray | np.generic) or _is_tensor(value)


def _is_tensor(value: Any) -> bool:
    # By its methods: torch takes seconds to import, and whoever has no torch yet has no tensor either.
    return all(hasattr(value, method) for method in ("detach", "cpu", "numpy", "is_floating_point"))


def _without_tensors(values: Any) -> Any:
    if _is_tensor(values):
        values = values.detach().cpu().resolve_conj().resolve_neg()
        try:
            return values.numpy()
        except TypeError:
            # bfloat16 and its like, which NumPy does not know; float32 holds every value of them
            return values.float().numpy()
    first = values[0] if isinstance(values, list | tuple) and values else None
    if _is_array(first) or isinstance(first, list | tuple):
        return [_without_tensors(v) for v in values]
    return values
