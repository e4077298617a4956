"""Second passes over a batch that a network has seen already: they do not count in its statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.checkpoint import checkpoint


def recomputed(
    stage: Sequence[nn.Module], run: Callable[..., torch.Tensor], *inputs: torch.Tensor
) -> torch.Tensor:
    """What `run` makes of inputs with the modules of a stage; what is in between is computed again going backward."""
    kept: torch.Tensor = checkpoint(
        run, *inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), frozen_statistics(stage))
    )
    return kept


@contextmanager
def frozen_statistics(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Batch normalisation inside `modules` uses a batch's statistics as ever, but does not remember them.

    For a second pass over a batch whose first one was counted already.
    """
    norms = [m for module in modules for m in module.modules() if isinstance(m, _NormBase)]
    momenta = [norm.momentum for norm in norms]
    counts = [norm.num_batches_tracked.clone() for norm in norms if norm.num_batches_tracked is not None]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        counted = (norm for norm in norms if norm.num_batches_tracked is not None)
        for norm, count in zip(counted, counts, strict=True):
            norm.num_batches_tracked.copy_(count)  # type: ignore[union-attr]
