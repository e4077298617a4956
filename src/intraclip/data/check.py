"""Look a data set over before an hour is spent on it: what is there, missing, corrupt, or unlike the published one."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from intraclip.core.paths import is_hidden
from intraclip.data.frames import read_tracklet_frame
from intraclip.data.layouts import LAYOUTS
from intraclip.data.pack.opened import open_pack
from intraclip.data.pack.verify import verify_pack
from intraclip.data.readers import find_dataset
from intraclip.data.readers.common import benchmark_info, is_image_name, shorten
from intraclip.data.readers.counts import unlike_published
from intraclip.data.readers.folder import find_manifest
from intraclip.data.readers.manifest import manifest_rows, number_in
from intraclip.data.readers.mars import MarsInfo, read_mars_info
from intraclip.errors import DataError, FrameError
from intraclip.types import Split, Tracklet, count_pids

Severity = Literal["error", "warning", "note"]
Decode = Literal["none", "sample", "all"]

SAMPLE_FRAMES = 500
"""Frames that ``decode="sample"`` decodes."""
SHORT_TRACKLET = 4
"""Tracklets with fewer frames are counted: the paper's clips have four frames."""

_DECODE_BLOCK = 4096
_COPY_AGAIN = "Copy or unpack these files again from the original archive."


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing to know about a data set.

    Attributes:
        severity: ``error`` when training or scoring would stop or be wrong, ``warning`` when results would not be
            comparable, ``note`` for what is usual but good to know.
        where: the file, folder or subset.
        what: what was found, with numbers.
        remedy: what to do; empty when there is nothing to do.
    """

    severity: Severity
    where: str
    what: str
    remedy: str


@dataclass(frozen=True, kw_only=True)
class SubsetCounts:
    """Size of one subset: training, query or gallery."""

    tracklets: int
    frames: int
    pids: int
    cameras: int
    shortest: int
    longest: int


@dataclass(frozen=True, kw_only=True)
class DataReport:
    """What `check_dataset` found.

    Attributes:
        is_benchmark: whether it is a rendered copy (`benchmark.json`), to which published counts do not apply.
        num_splits: number of splits; 0 when they could not be read.
        subsets: sizes of ``train``, ``query`` and ``gallery`` of split 0; empty when it could not be read.
        findings: errors first, then warnings, then notes.
    """

    root: Path
    layout: str
    is_benchmark: bool
    num_splits: int
    subsets: dict[str, SubsetCounts] = field(default_factory=dict)
    frames_decoded: int = 0
    findings: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether there are no errors; warnings and notes may be."""
        return all(finding.severity != "error" for finding in self.findings)

    def to_text(self) -> str:
        """The report in plain words."""
        splits = f", split 0 of {self.num_splits}" if self.num_splits > 1 else ""
        rendered = ", a rendered copy" if self.is_benchmark else ""
        lines = [f"{self.layout} in {self.root}{splits}{rendered}"]
        if self.subsets:
            lines += [
                "",
                f"{'':9}{'tracklets':>10}{'frames':>11}{'pids':>7}{'cameras':>9}  frames a tracklet",
            ]
            lines += [
                f"{name:9}{c.tracklets:>10,}{c.frames:>11,}{c.pids:>7,}{c.cameras:>9,}  {c.shortest} to {c.longest}"
                for name, c in self.subsets.items()
            ]
            total = sum(c.frames for c in self.subsets.values())
            lines += ["", f"{self.frames_decoded:,} of {total:,} frames were decoded as a trial."]
        for finding in self.findings:
            lines += ["", f"{finding.severity}: {finding.where}", *_indent(finding.what)]
            if finding.remedy:
                lines += _indent(f"-> {finding.remedy}")
        words = Counter(finding.severity for finding in self.findings)
        counts = [
            f"{words[name]} {name}{'s' * (words[name] > 1)}" for name in ("error", "warning") if words[name]
        ]
        lines += ["", f"{' and '.join(counts)}." if counts else "No problems."]
        return "\n".join(lines)

    def to_json_dict(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {**asdict(self), "root": str(self.root), "ok": self.ok}


def check_dataset(
    root: Path, *, layout: str = "auto", decode: Decode = "sample", seed: int = 0
) -> DataReport:
    """Look a data set over.

    Args:
        root: the data set's folder, the one around it, or one of its own folders.
        layout: a name in `LAYOUTS`, or ``auto``.
        decode: decode no frames, a random `SAMPLE_FRAMES` of them, or all.
        seed: of the random sample.

    Returns:
        A report; what is wrong inside a recognised data set is a finding in it, not an exception.

    Raises:
        DataError: no data set is recognised at all, or `decode` is unknown.
    """
    if decode not in ("none", "sample", "all"):
        raise DataError(f"decode is {decode!r}, expected none, sample or all")
    name, folder = find_dataset(root, layout=layout)
    findings: list[Finding] = []
    is_benchmark, num_splits, split = False, 0, None
    try:
        is_benchmark = benchmark_info(folder) is not None
        split = _read(name, folder, findings)
        num_splits = LAYOUTS.load(name).count_splits(folder)
    except DataError as error:
        findings.append(Finding(severity="error", where=str(folder), what=str(error), remedy=""))

    frames_decoded = 0
    if split is not None:
        findings += _published_findings(split, name)
        findings += _identity_findings(split)
        if name == "folder":
            findings += _manifest_findings(split)
        files: dict[Path, _Files] = {}
        if name == "pack":
            findings += _pack_findings(folder)
        else:
            files = _scan_files(split, sizes=decode != "none")
            findings += _file_findings(split, files, every_image_counts=name in ("mars", "folder"))
        if decode != "none" and not (name == "pack" and any(f.severity == "error" for f in findings)):
            chosen = _choose_frames(
                split, None if name == "pack" else files, None if decode == "all" else SAMPLE_FRAMES, seed
            )
            frames_decoded = len(chosen)
            findings += _decode_findings(chosen)
    order = ("error", "warning", "note")
    return DataReport(
        root=folder,
        layout=name,
        is_benchmark=is_benchmark,
        num_splits=num_splits,
        subsets={} if split is None else _subset_counts(split),
        frames_decoded=frames_decoded,
        findings=tuple(sorted(findings, key=lambda finding: order.index(finding.severity))),
    )


def queries_without_match(split: Split, *, queries_in_gallery: bool) -> list[Tracklet]:
    """Queries whose person no other camera of the gallery has seen; they have no right answer.

    The queries themselves may be searched too, as in MARS' usual protocol.
    """
    gallery = split.test if queries_in_gallery else split.gallery
    sightings = Counter((t.pid, t.camid) for t in gallery)
    people: Counter[int] = Counter()
    for (pid, _), count in sightings.items():
        people[pid] += count
    return [q for q in split.query if people[q.pid] == sightings[q.pid, q.camid]]


def _read(name: str, root: Path, findings: list[Finding]) -> Split:
    """Split 0; MARS is read from its tables alone, so that missing images do not hide the rest."""
    if name != "mars":
        split: Split = LAYOUTS.load(name).read(root, 0, "first-half-tests")
        return split
    info = read_mars_info(root / "info")
    for folder in ("bbox_train", "bbox_test"):
        if not (root / folder).is_dir():
            findings.append(
                Finding(
                    severity="error",
                    where=str(root / folder),
                    what="the folder is missing, and all of its images with it",
                    remedy=f"Unpack {folder}.zip there.",
                )
            )
    findings += _unused_name_findings(info)
    return info.split(root)


def _unused_name_findings(info: MarsInfo) -> Iterator[Finding]:
    for half, table in (("train", info.train), ("test", info.test)):
        unused = table.unused_names()
        if unused:
            tracklets = sorted({name[:11] for name in unused})
            yield Finding(
                severity="warning",
                where=f"tracks_{half}_info.mat",
                what=f"{len(tracklets):,} tracklets of {half}_name.txt are not in the table ({len(unused):,} frames), "
                f"first missing: {shorten(tracklets)}",
                remedy="Get the table again.",
            )


def _subset_counts(split: Split) -> dict[str, SubsetCounts]:
    counts = {}
    for name, tracklets in split.subsets.items():
        lengths = [len(t) for t in tracklets]
        counts[name] = SubsetCounts(
            tracklets=len(tracklets),
            frames=sum(lengths),
            pids=count_pids(tracklets),
            cameras=len({t.camid for t in tracklets}),
            shortest=min(lengths, default=0),
            longest=max(lengths, default=0),
        )
    return counts


def _published_findings(split: Split, layout: str) -> Iterator[Finding]:
    wrong = unlike_published(layout, split)
    if wrong:
        yield Finding(
            severity="warning",
            where=str(split.root),
            what="\n".join(wrong),
            remedy="Numbers measured on this copy cannot be compared with published ones; complete it first.",
        )


def _identity_findings(split: Split) -> Iterator[Finding]:
    gallery_pids = {t.pid for t in split.gallery if t.pid > 0}
    shared = sorted({t.pid for t in split.train} & gallery_pids)
    if shared:
        yield Finding(
            severity="warning",
            where="training and gallery",
            what=f"{len(shared):,} pids are in both: {shorten(shared)}",
            remedy="A network knows the people it was trained on: keep the pids of training and test apart.",
        )
    for name, tracklets in (("training", split.train), ("query", split.query), ("gallery", split.gallery)):
        if not tracklets:
            yield Finding(
                severity="warning" if split.dataset != "folder" else "note",
                where=name,
                what=f"there are no {name} tracklets",
                remedy="Training needs training tracklets, scoring needs queries and a gallery.",
            )
    short = [t.name for t in (*split.train, *split.test) if len(t) < SHORT_TRACKLET]
    if short:
        yield Finding(
            severity="note",
            where="tracklets",
            what=f"{len(short):,} have fewer than {SHORT_TRACKLET} frames: {shorten(short)}",
            remedy="Clips pad them with their own frames, see clip.short.",
        )
    apart = queries_without_match(split, queries_in_gallery=False)
    together = queries_without_match(split, queries_in_gallery=True)
    if apart:
        yield Finding(
            severity="warning" if together else "note",
            where="query",
            what=f"{len(apart):,} of {len(split.query):,} queries have no match in another camera of the gallery "
            f"({len(together):,} when the queries are left in the gallery): {shorten([q.name for q in apart])}",
            remedy="They have no right answer and are not counted; name the protocol with every number.",
        )


def _manifest_findings(split: Split) -> Iterator[Finding]:
    """Tracklets whose manifest row tells another number of frames than the folder holds."""
    manifest = find_manifest(split.root)
    if manifest is None:
        return
    lengths = {t.name: len(t) for t in (*split.train, *split.test)}
    wrong = [
        f"{row['tracklet']} ({row['num_frames']} in the manifest, {lengths[row['tracklet']]} in the folder)"
        for _, row in manifest_rows(manifest)
        if (said := row.get("num_frames", "")) and number_in(said) != lengths[row["tracklet"]]
    ]
    if wrong:
        yield Finding(
            severity="error",
            where=str(manifest),
            what=f"{len(wrong):,} tracklets have another number of frames: {shorten(wrong)}",
            remedy="Frames were lost or added after the manifest was written; copy the folders again.",
        )


@dataclass(frozen=True, kw_only=True)
class _Files:
    """What lies below one folder.

    Attributes:
        empty_files: those of zero bytes, when sizes were asked for.
        empty_folders: folders with nothing in them.
    """

    images: set[str]
    empty_files: set[str]
    empty_folders: list[str]


def _scan_files(split: Split, *, sizes: bool) -> dict[Path, _Files]:
    """Everything below each folder that tracklets take frames from; a missing folder is left out."""
    roots = {t.root for t in (*split.train, *split.test)}
    return {root: _scan(root, sizes=sizes) for root in sorted(roots) if root.is_dir()}


def _scan(root: Path, *, sizes: bool) -> _Files:
    files = _Files(images=set(), empty_files=set(), empty_folders=[])
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        nothing = True
        with os.scandir(root / prefix) as entries:
            for entry in entries:
                nothing = False
                if is_hidden(entry.name):
                    continue
                if entry.is_dir():
                    waiting.append(f"{prefix}{entry.name}/")
                elif is_image_name(entry.name):
                    files.images.add(prefix + entry.name)
                    if sizes and entry.is_file() and entry.stat().st_size == 0:
                        files.empty_files.add(prefix + entry.name)
        if nothing and prefix:
            files.empty_folders.append(prefix.rstrip("/"))
    return files


def _file_findings(split: Split, files: dict[Path, _Files], *, every_image_counts: bool) -> Iterator[Finding]:
    for root, here in files.items():
        tracklets = [t for t in (*split.train, *split.test) if t.root == root]
        used = [frame for t in tracklets for frame in t.frames]
        named = set(used)
        missing = sorted(named - here.images)
        if missing:
            gone = set(missing)
            bare = sum(all(frame in gone for frame in t.frames) for t in tracklets)
            yield Finding(
                severity="error",
                where=str(root),
                what=f"{len(missing):,} of {len(named):,} frames are listed but are not there, {bare:,} tracklets "
                f"have none at all; first missing: {shorten(missing)}",
                remedy=_COPY_AGAIN,
            )
        if here.empty_files:
            yield Finding(
                severity="error",
                where=str(root),
                what=f"{len(here.empty_files):,} files are empty: {shorten(sorted(here.empty_files))}",
                remedy=_COPY_AGAIN,
            )
        if here.empty_folders:
            yield Finding(
                severity="warning",
                where=str(root),
                what=f"{len(here.empty_folders):,} folders are empty: {shorten(sorted(here.empty_folders))}",
                remedy="Remove them, or copy their content again.",
            )
        if len(named) < len(used):
            yield Finding(
                severity="error",
                where=str(root),
                what=f"{len(used) - len(named):,} frames belong to more than one tracklet",
                remedy="Get the tables again.",
            )
        extra = sorted(here.images - named) if every_image_counts else []
        if extra:
            yield Finding(
                severity="note",
                where=str(root),
                what=f"{len(extra):,} images belong to no tracklet and are not used: {shorten(extra)}",
                remedy="",
            )


def _pack_findings(root: Path) -> Iterator[Finding]:
    for problem in verify_pack(root):
        what, _, remedy = problem.rpartition("; ")
        yield Finding(
            severity="error", where=str(root), what=what, remedy=f"{remedy[:1].upper()}{remedy[1:]}."
        )
    listed = open_pack(root).index["unreadable"]
    if listed:
        yield Finding(
            severity="warning",
            where=str(root),
            what=f"{len(listed):,} frames could not be read when the pack was made: "
            + shorten(
                [f"{entry['tracklet']}, frame {entry['frame']} ({entry['reason']})" for entry in listed]
            ),
            remedy="Mend them in the original folder and pack it again, or read the pack with data.on_unreadable skip.",
        )


def _choose_frames(
    split: Split, files: dict[Path, _Files] | None, limit: int | None, seed: int
) -> list[tuple[Tracklet, int]]:
    """Frames to decode: those that are there and are not known to be empty; all, or a random `limit` of them.

    `files` is None for a pack, whose frames are all there, those excepted that its index lists.
    """
    listed: set[tuple[str, int]] = set()
    if files is None:
        listed = {(e["tracklet"], e["frame"]) for e in open_pack(split.root).index["unreadable"]}

    def is_there(tracklet: Tracklet, index: int) -> bool:
        if files is None:
            return (tracklet.name, index) not in listed
        here, frame = files.get(tracklet.root), tracklet.frames[index]
        return here is not None and frame in here.images and frame not in here.empty_files

    frames = [(t, i) for t in (*split.train, *split.test) for i in range(len(t)) if is_there(t, i)]
    if limit is not None and len(frames) > limit:
        rng = np.random.default_rng(seed)
        frames = [frames[i] for i in np.sort(rng.choice(len(frames), size=limit, replace=False)).tolist()]
    return frames


def _decode_findings(frames: Sequence[tuple[Tracklet, int]]) -> Iterator[Finding]:
    failures = [error for error in _try_frames(frames) if error is not None]
    if failures:
        yield Finding(
            severity="error",
            where="frames",
            what=f"{len(failures):,} of {len(frames):,} decoded frames cannot be read: "
            + shorten([f"{error.path} ({error.reason})" for error in failures]),
            remedy=_COPY_AGAIN,
        )


def _try_frames(frames: Sequence[tuple[Tracklet, int]]) -> Iterator[FrameError | None]:
    """The error of each frame, or None."""
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        # In blocks, because map() queues everything it is given at once, and a data set has a million frames.
        for start in range(0, len(frames), _DECODE_BLOCK):
            yield from pool.map(_try_frame, frames[start : start + _DECODE_BLOCK])


def _try_frame(frame: tuple[Tracklet, int]) -> FrameError | None:
    try:
        read_tracklet_frame(*frame)
    except FrameError as error:
        return error
    return None


def _indent(text: str) -> Iterable[str]:
    return (f"  {line}" for line in text.splitlines())
