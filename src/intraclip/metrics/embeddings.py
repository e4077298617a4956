"""Embeddings of tracklets, with what scoring needs to know about them."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from intraclip.arrays import as_flags, as_reals, as_whole
from intraclip.errors import DataError


@dataclass(frozen=True, kw_only=True, slots=True)
class Embeddings:
    """One vector a tracklet, with what scoring needs to know about it.

    It can be made of NumPy arrays, torch tensors on any device, or lists; it holds arrays.

    Attributes:
        features: float32 ``[N, D]``.
        pids: int64 ``[N]``.
        camids: int64 ``[N]``.
        is_query: bool ``[N]``.
        names: tracklet names ``[N]``; empty when unknown.
        fingerprint: of the network and sampling that made them (`intraclip.models.fingerprint`); empty when unknown.

    Raises:
        DataError: shapes differ, values are of another kind, or a feature is not finite.

    >>> e = Embeddings(features=[[3, 4], [0, 1]], pids=[1, 2], camids=[1, 1], is_query=[True, False])
    >>> e, e[0].tolist()
    (Embeddings(2 x 2, 1 queries, 2 pids), [3.0, 4.0])
    """

    features: npt.NDArray[np.float32]
    pids: npt.NDArray[np.int64]
    camids: npt.NDArray[np.int64]
    is_query: npt.NDArray[np.bool_]
    names: tuple[str, ...] = field(default=())
    fingerprint: str = ""

    def __post_init__(self) -> None:
        arrays: dict[str, npt.NDArray[Any]] = {
            "features": as_reals(self.features, name="features"),
            "pids": as_whole(self.pids, name="pids"),
            "camids": as_whole(self.camids, name="camids"),
            "is_query": as_flags(self.is_query, name="is_query"),
        }
        for name, array in arrays.items():
            object.__setattr__(self, name, array)
        object.__setattr__(self, "names", tuple(map(str, self.names)))
        rows = self.features.shape[:1]
        wrong = self.features.ndim != 2 or any(
            array.shape != rows for name, array in arrays.items() if name != "features"
        )
        if wrong or (self.names and (len(self.names),) != rows):
            shapes = {name: list(array.shape) for name, array in arrays.items()} | {
                "names": [len(self.names)]
            }
            raise DataError(
                "embeddings want features [N, D] and one entry a tracklet everywhere else; got "
                + ", ".join(
                    f"{name} {shape}" for name, shape in shapes.items() if name != "names" or self.names
                )
            )
        bad = np.flatnonzero(~np.isfinite(self.features).all(axis=1))
        if len(bad):
            which = ", ".join(self.names[i] if self.names else f"row {i}" for i in bad[:5])
            raise DataError(
                f"{len(bad)} of {len(self.features)} embeddings are not finite (NaN or infinite): {which}; "
                "such a network cannot be scored, look at its input range and its weights"
            )

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, row: int) -> npt.NDArray[np.float32]:
        """The vector ``[D]`` of a row, counted from 0."""
        found: npt.NDArray[np.float32] = self.features[operator.index(row)]
        return found

    def __repr__(self) -> str:
        n, d = self.features.shape
        known = len(np.unique(self.pids[self.pids > 0]))
        return f"Embeddings({n} x {d}, {int(self.is_query.sum())} queries, {known} pids)"


def take(embeddings: Embeddings, rows: npt.NDArray[np.int64]) -> Embeddings:
    """Some rows of embeddings, in the order given."""
    return Embeddings(
        features=embeddings.features[rows],
        pids=embeddings.pids[rows],
        camids=embeddings.camids[rows],
        is_query=embeddings.is_query[rows],
        names=tuple(embeddings.names[i] for i in rows) if embeddings.names else (),
    )
