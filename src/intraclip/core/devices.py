"""Devices by name, and results on their way from one to the CPU."""

from __future__ import annotations

import torch

from intraclip.errors import DeviceError


def choose_device(name: str) -> torch.device:
    """Resolve a device name.

    Args:
        name: ``auto`` (a GPU when there is one), ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        DeviceError: unknown, or not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise DeviceError(f"device {name!r} is unknown; use auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda":
        found = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= found:
            raise DeviceError(
                f"device {name!r} is not there: {found} CUDA devices found; cpu is always there, and auto takes what is"
            )
    elif device.type != "cpu":
        raise DeviceError(f"device {name!r} is not supported; use auto, cpu, cuda or cuda:N")
    return device


class Arriving:
    """Values that a GPU may still compute, and sends to the CPU as soon as it has them; on the CPU they are there."""

    def __init__(self, values: torch.Tensor) -> None:
        self._values = values
        self._arrived: torch.cuda.Event | None = None
        if values.device.type == "cuda":
            self._values = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._values.copy_(values, non_blocking=True)
            self._arrived = torch.cuda.current_stream(values.device).record_event()

    def read(self) -> torch.Tensor:
        """The values, on the CPU; waits for what they need, and for nothing that was started later."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._values
