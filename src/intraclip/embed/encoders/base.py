"""What every frame encoder takes and gives, and what runs beside one on a GPU."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import torch

from intraclip.core.devices import Arriving


class FrameEncoder(Protocol):
    """A network that turns each frame into one vector, whatever runs it.

    Attributes:
        name: for people, such as ``resnet50 (torch)`` or a file name.
        fingerprint: hexadecimal digest of weights and preprocessing; two encoders with the same one give the same
            vectors up to rounding.
        height: of the frames it takes, in pixels.
        width: of the frames it takes, in pixels.
        num_features: F.
    """

    name: str
    fingerprint: str
    height: int
    width: int
    num_features: int

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        """Encode frames; preprocessing (scaling, normalisation, channel order) is the encoder's own.

        Args:
            frames: uint8 ``[N, 3, H, W]`` RGB, any N, any memory layout, on the CPU.

        Returns:
            float32 ``[N, F]`` on the CPU.
        """
        ...


@runtime_checkable
class StartingEncoder(Protocol):
    """A frame encoder that can begin to encode, and be asked for the vectors later.

    Attributes:
        on_gpu: whether this gains anything: on a CPU the work is done when it is begun.
    """

    @property
    def on_gpu(self) -> bool:
        """Whether the network is on a GPU."""
        ...

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        """See `FrameEncoder.encode`."""
        return self.start(frames).read()

    def start(self, frames: torch.Tensor) -> Arriving:
        """As `FrameEncoder.encode`, without waiting for a GPU; frames in page-locked memory are not waited for either.

        What is started later is computed later.
        """
        ...


def aside(device: torch.device) -> AbstractContextManager[object]:
    """On a GPU, a queue of its own: what is started inside does not wait for what was started outside before it.

    What it reads must be there already. On the CPU it does nothing.
    """
    if device.type != "cuda":
        return nullcontext()
    return torch.cuda.stream(_queue(device))


@lru_cache(maxsize=8)  # one for each GPU: every queue has workspace of its own there
def _queue(device: torch.device) -> torch.cuda.Stream:
    cuda: Any = torch.cuda
    queue: torch.cuda.Stream = cuda.Stream(device, priority=-1)  # before what is waiting
    return queue
