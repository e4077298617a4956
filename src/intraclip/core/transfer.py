"""Results on their way from a device to the CPU."""

from __future__ import annotations

import torch


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
