"""How a GPU computes during a training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from intraclip.config import StepConfig


@contextmanager
def backend_settings(config: StepConfig, device: torch.device) -> Iterator[None]:
    """TF32 as the precision says, and the fastest convolutions for the one shape that training has.

    On the CPU nothing changes.
    """
    if device.type != "cuda":
        yield
        return
    cudnn: Any = torch.backends.cudnn
    matmul: Any = torch.backends.cuda.matmul
    benchmark = cudnn.benchmark
    # There are two kinds of switches, which have to agree. Only the newer ones can be read whatever a program has set
    # before, and only they outdo what it has set for everything.
    switches = [cudnn.conv, cudnn.rnn, matmul]
    before = [switch.fp32_precision for switch in switches]
    tf32 = [precision == "tf32" for precision in before]
    cudnn.benchmark = True
    cudnn.allow_tf32 = matmul.allow_tf32 = config.precision != "fp32"
    for switch in switches:
        switch.fp32_precision = "ieee" if config.precision == "fp32" else "tf32"
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = benchmark, tf32[0], tf32[2]
        for switch, precision in zip(switches, before, strict=True):
            switch.fp32_precision = precision
