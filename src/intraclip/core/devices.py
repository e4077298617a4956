"""Devices by name, and what machine a result was made on."""

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
