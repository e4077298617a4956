"""A loss that is not finite: what it was computed on is kept for inspection."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import safetensors
import safetensors.torch

from intraclip.errors import IntraclipError
from intraclip.losses import LOSSES
from intraclip.train.step import Done


def fail(done: Done, metrics: dict[str, float], run: Path, *, rank: int, seed: int) -> NoReturn:
    """Save the batch of a step whose metrics are not finite, and raise an IntraclipError that says so.

    Each process leaves its own clips.
    """
    file = run / f"failed-batch{f'-{rank}' if rank else ''}.safetensors"
    batch = done.batch.to("cpu")
    tensors = {
        name: getattr(batch, name).contiguous() for name in ("frames", "mask", "pids", "camids", "labels")
    }
    about = {key: str(value) for key, value in {"step": done.step, "seed": seed, **metrics}.items()}
    try:
        safetensors.torch.save_file(tensors, file, metadata=about)
        saved = f"its batch is saved as {file}"
    except (OSError, safetensors.SafetensorError) as error:
        saved = f"its batch could not be saved as {file}: {error}"
    terms = ", ".join(f"{name} {metrics[name]}" for name in LOSSES if name in metrics)
    raise IntraclipError(
        f"the loss is {metrics['loss']} at step {done.step} ({terms}); {saved}. Lower optimizer.learning_rate, or "
        "look at the weights it started from; the checkpoints up to here are kept"
    )
