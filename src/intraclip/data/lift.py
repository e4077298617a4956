"""Image transforms of other libraries as clip transforms."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch


def lift(transform: Callable[[torch.Tensor], torch.Tensor], *, synchronous: bool = True) -> Lifted:
    """Make a clip transform of any image transform.

    Works for every transform that draws from the global random state of Python, NumPy or torch, such as those of
    torchvision: its draw is replayed for each frame. Frames of the result may have any shape, the same for all.

    Args:
        transform: takes and returns one image, ``[C, H, W]`` as a rule.
        synchronous: one draw for all frames (SDA), or one for each.

    Returns:
        A function of a clip ``[T, C, H, W]``, and of a generator where draws shall not come from torch's own state.
        Beside the draw of a seed from there, the global random states are left as they were.

    >>> from torchvision.transforms import v2
    >>> jitter = lift(v2.ColorJitter(brightness=0.5))
    >>> clip = torch.full((4, 3, 8, 8), 100, dtype=torch.uint8)
    >>> augmented = jitter(clip)
    >>> augmented.shape, len(augmented.unique())  # one draw: every frame got the same brightness
    (torch.Size([4, 3, 8, 8]), 1)
    """
    return Lifted(transform, synchronous)


@dataclass(frozen=True)
class Lifted:
    """An image transform that takes clips; see `lift`. It can be pickled where the transform can.

    Attributes:
        transform: of one image.
        synchronous: one draw a clip, or one a frame.
    """

    transform: Callable[[torch.Tensor], torch.Tensor]
    synchronous: bool = True

    def __call__(self, clip: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """Transform a clip ``[T, C, H, W]``."""
        shape = (1 if self.synchronous else len(clip),)
        seeds = torch.randint(0, 2**31, shape, generator=generator).tolist()
        images = []
        for t, image in enumerate(clip):
            with _global_seed(seeds[t % len(seeds)]):
                images.append(self.transform(image))
        return torch.stack(images)


@contextmanager
def _global_seed(seed: int) -> Iterator[None]:
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002  a guest transform may use it
    with torch.random.fork_rng(devices=[]):
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002
