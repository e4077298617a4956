"""The side of `intraclip.metrics.blocks` that multiplies and counts with torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from intraclip.errors import DeviceError
from intraclip.metrics.blocks import DEPTH, Counted, Pairs


class TorchSide:
    """Products and counting with torch, on any device: one binary search for each number, no loop over queries."""

    def __init__(self, device: str) -> None:
        try:
            self._device = torch.device(device)
            torch.empty(0, device=self._device)
        except (RuntimeError, AssertionError) as error:
            raise DeviceError(f"device {device!r} cannot be used for ranking: {error}") from error

    cell_bytes = 48
    """The product, two places of 4 bytes and one of 8, flags, and the open pairs should they be many."""

    def load(self, g: npt.NDArray[np.float32], squares: npt.NDArray[np.float64]) -> None:
        """As with numpy."""
        self._g = self._send(g)
        self._offsets = self._send((squares / 2).astype(np.float32))

    def count(
        self,
        q: npt.NDArray[np.float32],
        low: npt.NDArray[np.float32],
        high: npt.NDArray[np.float32],
        starts: npt.NDArray[np.int64],
        left_out: Pairs,
    ) -> Counted:
        """As with numpy."""
        product = self._product(self._send(q))
        product[self._send(left_out[0]), self._send(left_out[1])] = torch.inf
        lengths = np.diff(starts)
        taken = np.arange(lengths.max()) < lengths[:, None]
        surely, possibly = (self._places(product, bounds, taken) for bounds in (low, high))
        rows, columns = torch.nonzero(surely != possibly, as_tuple=True)
        # Each query has bins of its own; infinity, which is padding and what is left out, falls behind all bounds.
        bins = taken.shape[1] + 1
        first = torch.arange(len(q), device=self._device)[:, None] * bins
        counts = torch.bincount((possibly + first).flatten(), minlength=len(q) * bins)
        counts = counts.view(len(q), bins).cumsum(1)[:, :-1]
        return (
            counts.cpu().numpy()[taken],
            (rows.cpu().numpy(), columns.cpu().numpy()),
            product[rows, columns].cpu().numpy(),
        )

    def _product(self, q: torch.Tensor) -> torch.Tensor:
        with _float32_products():
            product = self._offsets.expand(len(q), -1).clone()
            for start in range(0, q.shape[1], DEPTH):
                deep = slice(start, start + DEPTH)
                product.addmm_(q[:, deep], self._g[:, deep].T, alpha=-1)
        return product

    def _places(
        self, product: torch.Tensor, bounds: npt.NDArray[np.float32], taken: npt.NDArray[np.bool_]
    ) -> torch.Tensor:
        padded = np.full(taken.shape, np.inf, dtype=np.float32)
        padded[taken] = bounds
        return torch.searchsorted(self._send(padded), product, out_int32=True)

    def _send(self, array: npt.NDArray[np.generic]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)


@contextmanager
def _float32_products() -> Iterator[None]:
    """Products of true float32, as the bound needs; a program may have allowed TF32 or bfloat16 for its training."""
    sides: list[Any] = [torch.backends.cuda.matmul, torch.backends.mkldnn.matmul]  # type: ignore[attr-defined]
    # torch's older switch raises once a program has used this one, which reads both kinds.
    before = [side.fp32_precision for side in sides]
    try:
        for side in sides:
            side.fp32_precision = "ieee"
        yield
    finally:
        for side, precision in zip(sides, before, strict=True):
            side.fp32_precision = precision
