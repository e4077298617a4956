"""Extraction on a Ray cluster: Ray Data hands the parts to workers, and gives those of a dead worker to another.

Data folder, run and output must have the same paths on all machines, as on a network file system. The workers write
the parts; the process that was started joins them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from intraclip.core.distributed import ALONE
from intraclip.core.extras import require_extra
from intraclip.core.progress import Progress
from intraclip.embed.extract_job import Extracted, ExtractJob
from intraclip.embed.extractors import Extractor, ExtractSettings
from intraclip.errors import DataError, IntraclipError
from intraclip.types import Split

_PURPOSE = "extraction on a Ray cluster"


class PartWorker:
    """A worker of Ray Data: opens the extractor once, then makes one part after the other."""

    def __init__(
        self, opener: Callable[[], Extractor], split: Split, settings: ExtractSettings, out: Path
    ) -> None:
        self.job = ExtractJob(opener(), split, settings, out)
        self.job.join()

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Make the parts of a batch; an error that repeating does not mend is returned, not raised."""
        numbers, errors = [int(n) for n in batch["part"]], []
        for number in numbers:
            try:
                self.job.run_parts([number])
                errors.append("")
            except IntraclipError as error:
                errors.append(str(error))
        return {"part": numbers, "error": errors}


def extract_with_ray(
    opener: Callable[[], Extractor],
    split: Split,
    settings: ExtractSettings,
    out: Path,
    *,
    resume: bool = False,
    force: bool = False,
    address: str = "local",
    progress: Progress | None = None,
) -> Extracted:
    """As `extract_split`, on a Ray cluster.

    Raises:
        DataError: what a worker met, such as an unreadable frame that is not to be skipped; finished parts stay.
    """
    with _cluster(address) as (ray, data):
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0))
        # One core stays free for the task that hands out the parts: without it nothing would begin.
        workers = gpus or max(1, int(resources["CPU"]) - 1)
        if not gpus:
            settings = replace(settings, workers=0)  # a worker has one core: processes beside it gain nothing
        job = ExtractJob(opener(), split, settings, out, processes=workers)
        job.begin(resume=resume, force=force)
        numbers = job.share(ALONE)
        if numbers:
            parts = data.from_items([{"part": n} for n in numbers], override_num_blocks=len(numbers))
            made = parts.map_batches(
                PartWorker,
                fn_constructor_args=(opener, split, settings, out.absolute()),
                batch_size=1,
                num_cpus=1,
                num_gpus=1 if gpus else None,
                compute=data.ActorPoolStrategy(min_size=1, max_size=workers),
            )
            for done, row in enumerate(made.iter_rows(), start=1):
                if row["error"]:
                    raise DataError(row["error"])
                if progress:
                    progress(done, len(numbers))
        return job.merge()


@contextmanager
def _cluster(address: str) -> Iterator[tuple[Any, Any]]:
    """Ray and Ray Data, connected; disconnected at the end unless they were before."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing leaves the machine
    ray = require_extra("ray", extra="ray", purpose=_PURPOSE)
    data = require_extra("ray.data", extra="ray", purpose=_PURPOSE)
    connected = ray.is_initialized()
    if not connected:
        where = {"num_cpus": max(2, os.cpu_count() or 2)} if address == "local" else {}
        ray.init(
            address=address, include_dashboard=False, log_to_driver=False, logging_level="ERROR", **where
        )
    context = data.DataContext.get_current()
    bars, context.enable_progress_bars = context.enable_progress_bars, False
    try:
        yield ray, data
    finally:
        context.enable_progress_bars = bars
        if not connected:
            ray.shutdown()
