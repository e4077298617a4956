"""Embeddings files: what intraclip writes, and what other systems hand in.

The arrays, in an .npz file or as the columns of a Parquet file:

========  =========  ====================================================================
features  [N, D]     one vector a tracklet; in Parquet a column of lists
pids      [N]        identity; -1 is junk, 0 a distractor, -2 unknown
camids    [N]        camera
is_query  [N]        true for queries, false for the gallery
names     [N]        optional, all different
start_s   [N]        optional: seconds from the start of the video to the first frame
end_s     [N]        optional: to the last frame; NaN where unknown
========  =========  ====================================================================

An .npz file may have the names of torchreid's evaluation instead, with queries and gallery apart: ``qf``, ``q_pids``,
``q_camids``, ``gf``, ``g_pids``, ``g_camids``; they are joined, queries first.

`intraclip extract` adds one text in JSON, the metadata: ``fingerprint`` of what made the embeddings, ``encoder``,
``clip`` settings and more. In an .npz file it is the array ``intraclip``, in a Parquet file that key of the schema.
Beside it stands a digest of all of this, so that a damaged file is not read as other embeddings.

A file of another system is checked before anything is computed: a mistake here does not crash, it raises the scores.
"""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from intraclip.arrays import as_flags, as_whole
from intraclip.config_io import parse_json
from intraclip.core.extras import require_extra
from intraclip.core.utf8 import utf8_path
from intraclip.data.readers.common import raise_problems, shorten
from intraclip.embed.embeddings_writer import DIGEST, METADATA, PARQUET, content_digest
from intraclip.embed.embeddings_writer import save_embeddings as save_embeddings
from intraclip.errors import DataError
from intraclip.metrics.embeddings import Embeddings

Arrays = dict[str, npt.NDArray[Any]]

REQUIRED = ("features", "pids", "camids", "is_query")
TIMES = ("start_s", "end_s")
OPTIONAL = ("names", *TIMES)

SIDES = {"q": "queries", "g": "gallery"}
APART = {"features": "f", "pids": "_pids", "camids": "_camids"}
"""Arrays as torchreid calls them, after the letter of the side."""

_REMEDY = "Write one row a tracklet, in the same order in every array."
_LENGTHS = (
    "each wants exactly one entry a tracklet. Two public projects report 97 rank-1 on MARS because they pair one "
    "camid a frame with one pid a tracklet"
)


@dataclass(frozen=True, kw_only=True)
class EmbeddingsFile:
    """A checked embeddings file.

    Attributes:
        notes: what was accepted although it is unusual, in sentences.
        times: seconds of the first and last frame, float64 ``[N, 2]``, NaN where unknown; None if the file has none.
        metadata: what the writer said about the embeddings; empty if it said nothing.
    """

    path: Path
    embeddings: Embeddings
    notes: tuple[str, ...]
    times: npt.NDArray[np.float64] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """Of the model and settings that made the embeddings; empty if the file does not say."""
        return str(self.metadata.get("fingerprint", ""))


def load_embeddings(path: Path) -> Embeddings:
    """Read embeddings from an .npz or Parquet file."""
    return read_embeddings(path).embeddings


def read_embeddings(path: Path) -> EmbeddingsFile:
    """Read and check an embeddings file of any system. No pickle in it is opened.

    Returns:
        features as float32 ``[N, D]``, pids and camids as int64 ``[N]``, is_query as bool ``[N]``; and notes.

    Raises:
        DataError: the file is missing or damaged, an array is missing, or its shape, length, kind or values are
            wrong; all that is wrong with the arrays is listed at once.
    """
    arrays, metadata, digest = _read_parquet(path) if path.suffix.lower() in PARQUET else _read_npz(path)
    if digest and digest != content_digest(arrays, metadata):
        raise DataError(
            f"{path} is damaged: it holds other embeddings than were written; extract or copy them again"
        )
    problems: list[str] = []
    notes: list[str] = []
    lengths = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if not lengths.get("names", 1):
        del lengths["names"]  # an empty array of names stands for no names
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} {length:,}" for name, length in lengths.items())
        raise DataError(f"{path}: lengths differ: {found}; {_LENGTHS}")
    features = _features(arrays["features"], arrays.get("names"), problems)
    takes = {"pids": as_whole, "camids": as_whole, "is_query": as_flags}
    columns = {name: _column(name, take, arrays[name], problems, notes) for name, take in takes.items()}
    names = _names(arrays["names"], problems) if lengths.get("names") else ()
    times = _times(arrays, problems)
    raise_problems(str(path), problems, _REMEDY)
    said = _metadata(metadata, path)
    embeddings = Embeddings(
        features=features,
        names=names,
        fingerprint=str(said.get("fingerprint", "")),
        **columns,
    )
    return EmbeddingsFile(path=path, embeddings=embeddings, notes=tuple(notes), times=times, metadata=said)


def _metadata(text: str, path: Path) -> Mapping[str, Any]:
    if not text:
        return {}
    try:
        found = parse_json(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise DataError(f"{path}: its entry {METADATA!r} is no JSON object; it was not written by intraclip")
    return found


# -- files -------------------------------------------------------------------------------------------------


def _read_npz(path: Path) -> tuple[Arrays, str, str]:
    """Arrays, metadata and digest; either text may be empty."""
    start = _first_bytes(path)
    if not zipfile.is_zipfile(path):
        hint = "it is no zip archive"
        if start.startswith(b"\x93NUMPY"):
            hint = "it is a single .npy array"
        elif start.startswith(b"\x80"):
            hint = "it looks like a pickle, which can run any program and is not opened"
        elif start.startswith(b"PAR1"):
            hint = "it is a Parquet file; give it a name that ends in .parquet"
        raise DataError(
            f"{path} cannot be read as .npz: {hint}; write it with "
            "numpy.savez(file, features=..., pids=..., camids=..., is_query=...)"
        )
    arrays: Arrays = {}
    try:
        # Opened here: of a file that it cannot read, numpy forgets to close it.
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            if any(name.endswith("data.pkl") for name in file.files):
                raise DataError(
                    f"{path} is a PyTorch file with a pickle inside, which can run any program and is not opened; "
                    "write its tensors with numpy.savez"
                )
            if not set(REQUIRED) <= set(file.files) and {s + n for s in SIDES for n in APART.values()} <= set(
                file.files
            ):
                arrays = _joined(path, file)
            else:
                _check_names(path, file.files)
                for name in (*REQUIRED, *OPTIONAL):
                    if name in file.files:
                        arrays[name] = _npz_array(path, name, file)
            texts = [
                str(_npz_array(path, key, file)) if key in file.files else "" for key in (METADATA, DIGEST)
            ]
    except DataError:
        raise
    except Exception as error:  # zipfile, zlib and numpy raise many kinds for a damaged file
        raise DataError(f"{path} cannot be read as .npz, it is damaged: {error}") from None
    return arrays, texts[0], texts[1]


def _joined(path: Path, file: Mapping[str, Any]) -> Arrays:
    """Queries and gallery of torchreid's names in the same arrays."""
    sides = {
        side: {name: _npz_array(path, side + given, file) for name, given in APART.items()} for side in SIDES
    }
    for side, arrays in sides.items():
        lengths = {side + APART[name]: len(array) if array.ndim else 0 for name, array in arrays.items()}
        if len(set(lengths.values())) > 1:
            found = ", ".join(f"{name} {length:,}" for name, length in lengths.items())
            raise DataError(f"{path}: lengths of the {SIDES[side]} differ: {found}; {_LENGTHS}")
    joined: Arrays = {}
    for name, given in APART.items():
        pair = [sides[side][name] for side in SIDES]
        if len({(array.ndim, *array.shape[1:]) for array in pair}) > 1:
            raise DataError(
                f"{path}: q{given} has shape {list(pair[0].shape)} and g{given} {list(pair[1].shape)}; queries and "
                "gallery need vectors of the same size"
            )
        joined[name] = np.concatenate(pair)
    joined["is_query"] = np.arange(len(joined["pids"])) < len(sides["q"]["pids"])
    return joined


def _npz_array(path: Path, name: str, file: Mapping[str, Any]) -> npt.NDArray[Any]:
    try:
        array = file[name]
    except ValueError as error:
        if "pickle" not in str(error):
            raise
        raise DataError(
            f"{path}: {name} holds pickled Python objects, which can run any program and are not opened; save plain "
            "numbers, and names as numpy.array(names, dtype=str)"
        ) from None
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: {name} is no NumPy array")
    return array


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(8)
    except FileNotFoundError:
        raise DataError(f"there is no embeddings file {path}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None


def _check_names(path: Path, found: Sequence[str]) -> None:
    missing = [name for name in REQUIRED if name not in found]
    if missing:
        raise DataError(
            f"{path} lacks {', '.join(missing)}; it has {shorten(found) or 'nothing'}. Queries and gallery stand in "
            "the same arrays, is_query tells them apart; or apart in an .npz file as qf, q_pids, q_camids, gf, g_pids "
            "and g_camids"
        )


def _read_parquet(path: Path) -> tuple[Arrays, str, str]:
    _first_bytes(path)
    parquet = require_extra("pyarrow.parquet", extra="parquet", purpose=f"reading {path.name}")
    try:
        with utf8_path(path) as name, parquet.ParquetFile(name) as file:
            found = list(file.schema_arrow.names)
            _check_names(path, found)
            table = file.read(columns=[column for column in (*REQUIRED, *OPTIONAL) if column in found])
            keys = {**(file.metadata.metadata or {}), **(file.schema_arrow.metadata or {})}
            texts = [keys.get(key.encode(), b"").decode() for key in (METADATA, DIGEST)]
    except DataError:
        raise
    except Exception as error:  # pyarrow's errors derive from several built-in ones
        raise DataError(f"{path} cannot be read as Parquet: {error}") from None
    for name in table.column_names:
        if table[name].null_count and name not in TIMES:
            raise DataError(
                f"{path}: {name} has {table[name].null_count:,} empty cells; every row needs a value"
            )
    arrays: Arrays = {
        name: table[name].to_numpy() for name in table.column_names if name not in ("features", "names")
    }
    arrays["features"] = _list_column(path, table["features"])
    if "names" in table.column_names:
        names = table["names"].to_pylist()
        # A column of anything but text and whole numbers becomes objects, which `_names` refuses.
        arrays["names"] = np.array(names, dtype=None if names else np.str_)
    return arrays, texts[0], texts[1]


def _list_column(path: Path, column: Any) -> npt.NDArray[Any]:
    """A Parquet column of lists as ``[N, D]``."""
    types = require_extra("pyarrow.types", extra="parquet", purpose=f"reading {path.name}")
    compute = require_extra("pyarrow.compute", extra="parquet", purpose=f"reading {path.name}")
    kind = column.type
    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    if not is_list or not (types.is_integer(kind.value_type) or types.is_floating(kind.value_type)):
        raise DataError(f"{path}: features is a column of {kind}; a list of numbers in every row is needed")
    sizes = sorted(set(compute.list_value_length(column).to_pylist()))
    if len(sizes) > 1:
        raise DataError(f"{path}: the lists in features have lengths {shorten(sizes)}; all need the same")
    values = compute.list_flatten(column)
    if values.null_count:
        raise DataError(f"{path}: features has {values.null_count:,} empty numbers inside its lists")
    return np.asarray(values.to_numpy()).reshape(len(column), sizes[0] if sizes else 0)


# -- arrays ------------------------------------------------------------------------------------------------


def _features(
    array: npt.NDArray[Any], names: npt.NDArray[Any] | None, problems: list[str]
) -> npt.NDArray[np.float32]:
    nothing = np.zeros((0, 0), dtype=np.float32)
    if array.ndim != 2 or not array.shape[1] or not array.shape[0]:
        problems.append(f"features has shape {list(array.shape)}, [N, D] with N and D above 0 is needed")
        return nothing
    if array.dtype.kind not in "fiu":
        problems.append(f"features holds {array.dtype}, real numbers are needed")
        return nothing

    def rows(bad: npt.NDArray[np.int64]) -> str:
        if names is not None and len(names) == len(array):
            return shorten([f"row {i} ({names[i]})" for i in bad[:5]] + [f"row {i}" for i in bad[5:]])
        return shorten([f"row {i}" for i in bad])

    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if len(bad):
        problems.append(
            f"{len(bad):,} of {len(array):,} embeddings are not finite (NaN or infinite): {rows(bad)}"
        )
        return nothing
    with np.errstate(over="ignore"):  # said below, with the rows
        features = array.astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        problems.append(f"{len(bad):,} of {len(array):,} embeddings hold values beyond float32: {rows(bad)}")
    return features


def _column(
    name: str,
    take: Callable[..., npt.NDArray[Any]],
    array: npt.NDArray[Any],
    problems: list[str],
    notes: list[str],
) -> npt.NDArray[Any]:
    """An array ``[N]`` as `take` takes it, such as `as_whole`; what it is taken as goes to the notes."""
    if array.ndim != 1:
        problems.append(f"{name} has shape {list(array.shape)}, [N] is needed")
        return np.zeros(0)
    try:
        found = take(array, name=name)
    except DataError as error:
        problems.append(str(error))
        return np.zeros(0)
    if take is as_flags and array.dtype.kind != "b":
        notes.append(f"{name} comes as {array.dtype}: 1 is read as query, 0 as gallery")
    elif array.dtype.kind == "f":
        notes.append(f"{name} comes as {array.dtype}; all its values are whole numbers and are read as such")
    return found


def _times(arrays: Arrays, problems: list[str]) -> npt.NDArray[np.float64] | None:
    given = [arrays[name] for name in TIMES if name in arrays]
    for name in TIMES:
        if name in arrays and (arrays[name].ndim != 1 or arrays[name].dtype.kind not in "fiu"):
            problems.append(
                f"{name} holds {arrays[name].dtype} of shape {list(arrays[name].shape)}; N seconds are needed"
            )
            return None
    if len(given) < len(TIMES):
        return None
    return np.stack(given, axis=1).astype(np.float64)


def _names(array: npt.NDArray[Any], problems: list[str]) -> tuple[str, ...]:
    if array.ndim != 1 or array.dtype.kind not in "USiu":
        problems.append(f"names holds {array.dtype} of shape {list(array.shape)}; N names as text are needed")
        return ()
    texts = array.tolist()
    names = tuple(t.decode("utf-8", "replace") if isinstance(t, bytes) else str(t) for t in texts)
    twice = [f"{name!r} ({count} rows)" for name, count in Counter(names).items() if count > 1]
    if twice:
        problems.append(
            f"names occur twice: {shorten(twice)}; every tracklet needs its own name, and frames are no tracklets"
        )
    return names
