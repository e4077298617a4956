"""What every frame encoder takes and gives, and what runs beside one on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any

import torch

from intraclip.core.devices import Arriving


class FrameEncoder:
    """A network that turns each frame into one vector, whatever runs it; one kind defines `encode`, another `start`.

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

    @property
    def on_gpu(self) -> bool:
        """Whether the network is on a GPU, where `start` gains something; on a CPU all is done when it is begun."""
        return False

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        """Encode frames; preprocessing (scaling, normalisation, channel order) is the encoder's own.

        Args:
            frames: uint8 ``[N, 3, H, W]`` RGB, any N, any memory layout, on the CPU.

        Returns:
            float32 ``[N, F]`` on the CPU.
        """
        return self.start(frames).read()

    def start(self, frames: torch.Tensor) -> Arriving:
        """As `encode`, without waiting for a GPU; frames in page-locked memory are not waited for either.

        What is started later is computed later.
        """
        return Arriving(self.encode(frames))

    def _in_pieces(
        self, frames: torch.Tensor, size: int, run: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """Vectors of frames, so many at a time."""
        found = [run(piece) for piece in torch.split(frames, size) if len(piece)]
        return torch.cat(found) if found else torch.zeros(0, self.num_features)


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
