"""Progress bars on standard error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from intraclip.cli.common import VOICE, console


class Bars(Progress):
    """A bar for each stage of a job, by its name; others get one when they are met.

    They appear with the first call, so that an error before any work is not hidden behind an empty bar.

    Args:
        stages: in their order.
        unit: of what is counted, such as frames: the bars say how many a second. Bytes are shown as megabytes.
    """

    def __init__(self, stages: Sequence[str], *, unit: str = "") -> None:
        counted = DownloadColumn if unit == "bytes" else MofNCompleteColumn
        super().__init__(
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
            BarColumn(bar_width=None, table_column=Column(ratio=1)),  # takes what the others leave
            counted(table_column=Column(no_wrap=True)),
            TimeRemainingColumn(table_column=Column(no_wrap=True)),
            console=console(stderr=True),
            expand=True,
        )
        self._rate = unit if unit != "bytes" else ""
        self._stages = {stage: self.add_task(stage, total=None, extra="", start=False) for stage in stages}

    def __call__(self, stage: str, done: int, total: int | None, extra: str = "") -> None:
        """Show how far a stage is, and what else there is to say of it."""
        if VOICE.quiet:
            return
        if stage not in self._stages:
            self._stages[stage] = self.add_task(stage, total=None, extra="", start=False)
        if not self.live.is_started:
            self.start()
        self.start_task(self._stages[stage])
        self.update(self._stages[stage], completed=done, total=total or None, extra=extra)

    def hide(self) -> None:
        """Take the bars away until the next call."""
        if self.live.is_started:
            self.stop()

    def get_renderables(self) -> Iterator[RenderableType]:
        """The bars, and a line of its own for what does not fit beside each."""
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            extra = task.fields["extra"]
            if self._rate and task.speed and not extra:
                extra = f"{task.speed:,.{1 if task.speed < 100 else 0}f} {self._rate}/s"
            if extra:
                yield Text(f"  {extra}", no_wrap=True, overflow="ellipsis")
