"""Whether a copy of a data set is whole: its counts against the published ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from intraclip.data.layouts import LAYOUTS
from intraclip.data.readers.common import benchmark_info
from intraclip.errors import DataError
from intraclip.types import DISTRACTOR_PID, JUNK_PID, Split, Tracklet, count_pids


@dataclass(frozen=True, kw_only=True)
class PublishedCounts:
    """What a complete copy of a data set holds, in the words of `count_split`, and who says so."""

    source: str
    counts: Mapping[str, int]


def count_split(split: Split) -> dict[str, int]:
    """Everything that published descriptions count, of one split."""
    counts: dict[str, int] = {}
    groups: dict[str, tuple[Tracklet, ...]] = {
        "training": split.train,
        "query": split.query,
        "gallery": split.gallery,
        "test": split.test,
    }
    for name, tracklets in groups.items():
        lengths = [len(t) for t in tracklets]
        counts[f"{name} tracklets"] = len(tracklets)
        counts[f"{name} pids"] = count_pids(tracklets)
        counts[f"{name} frames"] = sum(lengths)
        counts[f"frames in the shortest {name} tracklet"] = min(lengths, default=0)
        counts[f"frames in the longest {name} tracklet"] = max(lengths, default=0)
    counts["junk tracklets (pid -1)"] = sum(t.pid == JUNK_PID for t in split.test)
    counts["distractor tracklets (pid 0)"] = sum(t.pid == DISTRACTOR_PID for t in split.test)
    return counts


def differences(split: Split, published: PublishedCounts) -> list[str]:
    """Where a split's counts are not the published ones."""
    counts = count_split(split)
    found = []
    for what, expected in published.counts.items():
        gap = counts[what] - expected
        if gap:
            said = f"published: {expected:,} {what}; here {counts[what]:,}"
            more = (
                "" if what.startswith("frames in the") else f": {abs(gap):,} {'fewer' if gap < 0 else 'more'}"
            )
            found.append(said + more)
    return found


def unlike_published(layout: str, split: Split) -> list[str]:
    """`differences` from the published counts of a layout; none where it has none, or people were rendered."""
    published = published_counts(layout, split)
    rendered = benchmark_info(split.root) is not None
    return [] if published is None or rendered else differences(split, published)


def published_counts(layout: str, split: Split) -> PublishedCounts | None:
    """Published counts that a split should have; those of a pack are those of the data set in it."""
    name = split.dataset if layout == "pack" else layout
    if name not in LAYOUTS:
        return None
    published: PublishedCounts | None = LAYOUTS.load(name).published
    return published


def require_published(layout: str, split: Split) -> None:
    """Refuse a copy whose counts are not the published ones; a rendered one has none."""
    published, wrong = published_counts(layout, split), unlike_published(layout, split)
    if published is not None and wrong:
        lines = "\n".join(f"  - {difference}" for difference in wrong)
        raise DataError(
            f"{layout} in {split.root} is not the published data set ({published.source}):\n{lines}\n"
            "Complete it, or read it without checking counts."
        )
