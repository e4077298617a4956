"""`intraclip gallery add`, `search`, `show`, `list`, `delete`, `stats`, `check`, `calibrate` and `export-labels`."""

from __future__ import annotations

import shlex
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from intraclip.cli.common import ForPrograms, Parts, command, print_json, print_table, say, some
from intraclip.cli.gallery_add import AddArgs, add
from intraclip.cli.gallery_flags import (
    Chosen,
    InGallery,
    age,
    audited,
    clock,
    filters_of,
    learned_in_words,
    require_new,
    tell_unknown,
    time_of,
)
from intraclip.cli.gallery_search import SearchArgs, search
from intraclip.core.files import write_private
from intraclip.errors import ConfigError, DamagedError, OutputError

if TYPE_CHECKING:
    from intraclip.gallery.gallery import Gallery
    from intraclip.types import Tracklet

HELP = """usage: intraclip gallery COMMAND GALLERY [options]

  add GALLERY --data DIR --model MODEL   embed tracklets and add them
  search GALLERY --tracklet ID           find the most similar tracklets
  show GALLERY ID                        all that is known about a tracklet
  list GALLERY                           list tracklets
  delete GALLERY --older-than 30d        remove tracklets for good
  stats GALLERY                          counts, model, size
  check GALLERY                          look for damage; --out saves the rest
  calibrate GALLERY --labelled FILE      learn what a distance means
  export-labels GALLERY --out DIR        what people confirmed, as training data

GALLERY is a folder, or milvus+http://host:19530/name for a Milvus server.
`intraclip gallery add --help` and so on explain the options."""


@dataclass(frozen=True, kw_only=True)
class ShowArgs(InGallery):
    """Print all that is known about a tracklet."""

    tracklet: tyro.conf.Positional[str]
    """Its id."""
    out: Path | None = None
    """Write its film strip to this .jpg file."""
    json: bool = False
    """Print JSON, with all boxes."""


@dataclass(frozen=True, kw_only=True)
class ListArgs(InGallery, Chosen, ForPrograms):
    """List tracklets in order of their ids."""

    limit: int = 50
    """Most tracklets to list, up to 1,000."""
    cursor: str = ""
    """Where the list before this one ended."""


@dataclass(frozen=True, kw_only=True)
class DeleteArgs(InGallery, Chosen, ForPrograms):
    """Remove tracklets for good: embeddings, pictures, records, and what was said about them.

    Nothing is asked; try with --dry-run first. What several options name must all hold.
    """

    id: tuple[str, ...] = ()
    """Ids of tracklets."""
    older_than: str | None = None
    """Age since they were seen, or since they were added where that is unknown: 30d, 12h, 4w."""
    ahead: bool = False
    """Tracklets whose time lies ahead of this machine's clock: a clock was wrong, and no age reaches them."""
    dry_run: bool = False
    """Only say what would be removed."""


@dataclass(frozen=True, kw_only=True)
class StatsArgs(InGallery, ForPrograms):
    """Print counts by camera and source, the time span, the model, and the size."""


@dataclass(frozen=True, kw_only=True)
class CheckArgs(InGallery, ForPrograms):
    """Read everything in a gallery and compare it with its digests; say what is damaged.

    With --out all that is intact goes into a new gallery; the damaged one is left as it is.
    """

    out: Path | None = None
    """New folder for a gallery of what is intact."""


@dataclass(frozen=True, kw_only=True)
class CalibrateArgs(InGallery, ForPrograms):
    """Learn from labelled embeddings of the same model what the gallery's distances mean, and keep it there.

    Searches then give probabilities, and thresholds for a false-match rate. The labelled people should be ones that
    the model was not trained on, in cameras like those of the gallery.
    """

    labelled: Path
    """File of `intraclip evaluate` or `extract`, with pids."""
    prior: float | None = None
    """Chance that a random candidate is the person, such as 0.01; by default the share of same-person pairs in the
    labelled file."""


@dataclass(frozen=True, kw_only=True)
class ExportLabelsArgs(InGallery, ForPrograms):
    """Write what people said (labels, confirmed pairs) as a data folder for `intraclip train`."""

    out: Path
    """New or empty folder."""
    data: tuple[Path, ...] = ()
    """Data folders that the tracklets came from, for all their frames; else the gallery's few crops are written."""
    prefix: str = ""
    """The prefix that --data's tracklets were added with."""


# -- looking -----------------------------------------------------------------------------------------------


def _show(args: ShowArgs) -> int:
    if args.out is not None:
        require_new(args.out, suffixes=(".jpg", ".jpeg"))
    with args.opened() as gallery:
        record = gallery.record(args.tracklet)
        audited(gallery, "show", {"tracklet": record.id, "pictures": args.out is not None})
        strip, crops = gallery.strip(record.id), gallery.crops(record.id)
        judged = [j for j in gallery.judgements() if record.id in (j.query, j.tracklet)]
    if args.json:
        print_json({**record.to_json_dict(), "crops": len(crops), "judgements": [asdict(j) for j in judged]})
    else:
        values = {**record.to_json_dict(), "boxes": f"{len(record.boxes)} boxes", "crops": len(crops)}
        for name in ("started_at", "added_at"):
            values[name] = clock(values[name])
        for name, value in values.items():
            print(f"{name:<12}{'' if value is None else value}")
        for j in judged:
            other = j.tracklet if j.query == record.id else j.query
            print(f"{'confirmed' if j.same else 'rejected':<12}{other} {j.by} {clock(j.at)}")
    if args.out is not None:
        if not strip:
            raise OutputError(
                f"there are no pictures of {record.id!r} in the gallery {args.gallery}; nothing was written"
            )
        write_private(args.out, strip)
        say(f"the film strip is {args.out}")
    return 0


def _list(args: ListArgs) -> int:
    with args.opened() as gallery:
        filters = filters_of(args)
        tell_unknown(args, gallery)
        audited(gallery, "list", filters.for_audit())
        page = gallery.page(filters, limit=args.limit, cursor=args.cursor)
    if args.json:
        print_json({"records": [r.to_json_dict() for r in page.records], "cursor": page.cursor})
        return 0
    header = ["tracklet", "camera", "person", "time", "frames", "source"]
    print_table(
        header,
        [[r.id, r.camera, r.person, time_of(r), str(r.num_frames or ""), r.source] for r in page.records],
    )
    if page.cursor:
        say(f"there are more: --cursor {shlex.quote(page.cursor)}")
    return 0


def _stats(args: StatsArgs) -> int:
    with args.opened() as gallery:
        stats = gallery.stats()
        ahead = _ahead(gallery)
        learned = learned_in_words(gallery)
    if args.json:
        print_json(asdict(stats))
        return 0
    info = stats.info
    size = "" if stats.size_bytes is None else f", {stats.size_bytes / 1e6:,.1f} MB"
    print(f"{info.address}: {stats.tracklets:,} tracklets{size}, format version {info.format_version}")
    print(f"model {info.model or 'unnamed'}, fingerprint {info.fingerprint}")
    print(f"embeddings of size {info.dimension}, {info.metric} distance; index: {stats.index}")
    if stats.start_s is not None and stats.end_s is not None:
        print(f"seconds in the videos: {stats.start_s:,.1f} to {stats.end_s:,.1f}")
    if stats.started_at is not None:
        print(f"seen from {clock(stats.started_at)} to {clock(stats.ended_at)}")
    _tell_ahead(args.gallery, ahead)
    print(f"{stats.judgements} human judgements; calibration: {'yes' if stats.calibrated else 'none'}")
    if learned:
        print(learned)
    for title, counts in (("camera", stats.cameras), ("source", stats.sources), ("person", stats.people)):
        if counts:
            print_table([title, "tracklets"], [[name, f"{count:,}"] for name, count in counts.items()])
    return 0


def _ahead(gallery: Gallery) -> int:
    """Tracklets whose time lies in the future."""
    from intraclip.gallery.records import Filters

    return len(gallery.delete(Filters(seen_after=time.time()), dry_run=True).ids)


def _tell_ahead(address: str, count: int) -> None:
    if count:
        say(
            f"note: {count:,} tracklets carry a time ahead of this machine's clock, so no age reaches them; to remove "
            f"them: {command('gallery', 'delete', address, '--ahead')}"
        )


def _check(args: CheckArgs) -> int:
    damage: list[str] = []
    try:
        with args.opened() as gallery:
            damage = gallery.check()
            count = gallery.stats().tracklets if not damage else 0
    except DamagedError as error:
        damage = [*damage, str(error)]
    saved = None
    if args.out is not None:
        from intraclip.gallery.salvage import save_intact

        saved = save_intact(args.gallery, args.out)
    if args.json:
        print_json({"damage": damage, "saved": None if saved is None else asdict(saved)})
    else:
        for line in damage:
            print(line)
        if not damage:
            print(f"{args.gallery}: {count:,} tracklets, no damage")
        if saved is not None:
            print(f"{saved.tracklets:,} tracklets, {saved.judgements:,} judgements are in {args.out}")
            for name in saved.without_pictures:
                print(f"  without pictures: {name}")
            for line in saved.lost:
                print(f"  lost: {line}")
    if not damage or saved is not None:
        return 0
    if not args.json:
        say(f"to save what is intact: {command('gallery', 'check', args.gallery, '--out', 'NEW')}")
    return 2


# -- deleting, calibrating, exporting ----------------------------------------------------------------------


def _delete(args: DeleteArgs) -> int:
    from intraclip.gallery.records import Filters

    filters = replace(filters_of(args), ids=frozenset(args.id) if args.id else None)
    if args.older_than is not None and args.ahead:
        raise ConfigError(
            "--older-than and --ahead contradict each other; delete with one, then with the other"
        )
    if args.older_than is not None:
        filters = replace(filters, seen_before=time.time() - age(args.older_than))
    if args.ahead:
        filters = replace(filters, seen_after=time.time())
    with args.opened() as gallery:
        if missing := sorted(set(args.id) - gallery.find(args.id).keys()):
            raise ConfigError(
                f"the gallery {args.gallery} has no tracklets {', '.join(missing[:5])}; nothing was removed"
            )
        tell_unknown(args, gallery)
        deleted = gallery.delete(filters, dry_run=True)
        if deleted.ids and not args.dry_run:
            # By the ids that stand in the log: what is added meanwhile is not deleted unseen.
            audited(gallery, "delete", {"ids": list(deleted.ids), "by_person": bool(args.person)})
            deleted = gallery.delete(Filters(ids=frozenset(deleted.ids)))
        ahead = _ahead(gallery) if args.older_than is not None else 0
    _tell_ahead(args.gallery, ahead)
    deleted = replace(deleted, dry_run=args.dry_run)
    if args.json:
        print_json(asdict(deleted))
        return 0
    for name in some(deleted.ids):
        print(name)
    print(
        f"{'would remove' if args.dry_run else 'removed'} {len(deleted.ids):,} tracklets with their embeddings, "
        f"{deleted.pictures:,} pictures, {deleted.judgements:,} judgements"
    )
    for title, counts in (("camera", deleted.cameras), ("person", deleted.people)):
        for name, count in counts.items():
            print(f"  {title} {name}: {count:,}")
    if deleted.note:
        say(f"note: {deleted.note}")
    return 0


def _calibrate(args: CalibrateArgs) -> int:
    from intraclip.embed.embeddings_io import read_embeddings
    from intraclip.metrics.match_fit import fit_calibration

    file = read_embeddings(args.labelled)
    with args.opened() as gallery:
        gallery.require_fingerprint(file.fingerprint)
        calibration = fit_calibration(
            file.embeddings, metric=gallery.info.metric, fingerprint=file.fingerprint, prior=args.prior
        )
        gallery.set_calibration(calibration)
    if args.json:
        print_json(calibration.to_json_dict())
        return 0
    rates = [r for r in (0.1, 0.01, 0.001, 0.0001) if r >= calibration.false_match_rates[-1]]
    print_table(
        ["false-match rate", "distance below", "true matches, %"],
        [
            [f"{r:g}", f"{calibration.threshold(r):.4f}", f"{100 * calibration.true_match_rate(r):.1f}"]
            for r in rates
        ],
    )
    print(
        f"{calibration.people} people, {calibration.genuine_pairs:,} pairs of one person and "
        f"{calibration.impostor_pairs:,} of two; prior {calibration.prior:.4g}"
    )
    return 0


def _export_labels(args: ExportLabelsArgs) -> int:
    from intraclip.gallery.adding import Naming, read_tracklets
    from intraclip.gallery.labels import export_labels

    tracklets: dict[str, Tracklet] = {}
    for folder in args.data:
        tracklets |= {record.id: t for t, record in read_tracklets(folder, Naming(prefix=args.prefix))}
    with args.opened() as gallery:
        audited(gallery, "export-labels", {"data": len(args.data)})
        summary = export_labels(gallery, args.out, tracklets=tracklets)
    for conflict in summary.conflicts:
        say(f"left out: {conflict}")
    if summary.without_pictures:
        say(f"left out, no pictures: {', '.join(summary.without_pictures[:10])}")
    if args.json:
        print_json({"out": str(args.out), **asdict(summary)})
    else:
        say(
            f"{summary.people} people, {summary.tracklets} tracklets, {summary.frames} frames are in {args.out}; to "
            f"train with them: {command('train', '--data', args.out)}"
        )
    return 0


PARTS: Parts = {
    "add": (AddArgs, add),
    "search": (SearchArgs, search),
    "show": (ShowArgs, _show),
    "list": (ListArgs, _list),
    "delete": (DeleteArgs, _delete),
    "stats": (StatsArgs, _stats),
    "check": (CheckArgs, _check),
    "calibrate": (CalibrateArgs, _calibrate),
    "export-labels": (ExportLabelsArgs, _export_labels),
}
