"""`intraclip gallery add`."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from intraclip.cli.common import ForPrograms, ReadsData, command, print_json, progress_bar, say, say_some
from intraclip.cli.gallery_flags import (
    InGallery,
    Model,
    audited,
    learned_in_words,
    moment,
    note_model,
    open_model_for,
)
from intraclip.cli.network import extract_settings
from intraclip.core.settings import bounded
from intraclip.errors import ConfigError

if TYPE_CHECKING:
    from intraclip.core.progress import Progress
    from intraclip.gallery.adding import AddSummary, Naming
    from intraclip.gallery.gallery import Gallery


@dataclass(frozen=True, kw_only=True)
class AddArgs(InGallery, Model, ReadsData, ForPrograms):
    """Embed tracklets and add them to a gallery, which is made if it is not there.

    After an interruption the same command continues: tracklets that are in the gallery are skipped.
    """

    data: Path | None = None
    """Data folder, such as `intraclip ingest` writes."""
    embeddings: Path | None = None
    """File of `intraclip extract` or `evaluate` instead of a model; with --data it gets the folder's pictures and
    times."""
    distance: Literal["cosine", "euclidean"] | None = None
    """Distance of a new gallery, cosine where nothing is said; a gallery that is there keeps its own."""
    prefix: str = ""
    """Put in front of every tracklet's name, where two folders use the same names."""
    camera_name: tuple[str, ...] = ()
    """Names of cameras, such as 1=lobby 2=yard."""
    started_at: tuple[str, ...] = ()
    """When the videos began, such as 2026-11-22T08:00, or lobby.mp4=2026-11-22T08:00 for one of them."""
    people: bool = False
    """Take the data's pids as person labels; only for data that people have labelled."""
    labels_of: str | None = None
    """A gallery of the same tracklets and another network: take over what people said there."""
    crops: int = bounded(8, 0)
    """Frames of each tracklet to keep for playing it; a film strip is always kept."""
    workers: int | None = bounded(None, 0)
    """Processes that decode frames; by default as in the recipe."""
    on_unreadable: Literal["stop", "skip"] | None = None
    """Unreadable frames: stop with an error, or leave them out and list them; by default as the recipe says."""


def add(args: AddArgs) -> int:
    """Run the command."""
    if args.embeddings is None and args.data is None:
        raise ConfigError("name --data DIR, or --embeddings FILE")
    if args.embeddings is not None and args.model is not None:
        raise ConfigError("--embeddings FILE holds embeddings already: leave out --model")
    if args.labels_of is not None:
        from intraclip.gallery.gallery import open_gallery

        open_gallery(args.labels_of).close()  # before hours of embedding
    summary, tracklets, first = _add_file(args) if args.embeddings is not None else add_folder(args)
    for title, messages in (
        ("frames could not be read and were left out", summary.unreadable),
        ("tracklets have no usable embedding and were left out", summary.failures),
    ):
        if messages:
            say(f"{len(messages):,} {title}:")
            say_some(messages)
    if args.json:
        print_json({"gallery": args.gallery, "tracklets": tracklets, **asdict(summary)})
    else:
        say(
            f"added {summary.added:,} tracklets, {summary.skipped:,} were there already; {tracklets:,} are in "
            f"{args.gallery}"
        )
    if first and not args.json:
        say(f"next: {command('gallery', 'search', args.gallery, '--tracklet', first)}")
        say(f"  or: {command('serve', args.gallery)}")
    return 0


def add_folder(args: AddArgs, progress: Progress | None = None) -> tuple[AddSummary, int, str]:
    """Embed a data folder and add it: what became of it, tracklets there now, and the first one's id."""
    from intraclip.gallery.adding import add_tracklets, read_tracklets
    from intraclip.gallery.gallery import opened_or_created

    assert args.data is not None
    network = open_model_for(args, args.gallery)
    split = network.recipe.data.split if args.split is None else args.split
    naming = _naming(args)
    tracklets = read_tracklets(args.data, naming, layout=args.layout, split=split)
    _tell_absent(naming, {tracklet.camid for tracklet, _ in tracklets})
    settings = extract_settings(network.settings, workers=args.workers, on_unreadable=args.on_unreadable)
    with opened_or_created(
        args.gallery,
        fingerprint=network.fingerprint,
        dimension=network.embedding_size,
        metric=args.distance,
        model=network.name,
    ) as gallery:
        _tell_calibration(gallery)
        with nullcontext(progress) if progress else progress_bar("frames") as update:
            summary = add_tracklets(
                gallery, tracklets, network.extractor, settings, crops=args.crops, progress=update
            )
        if summary.added:
            note_model(args, gallery)
        return _finish(args, gallery, summary)


def _add_file(args: AddArgs) -> tuple[AddSummary, int, str]:
    from intraclip.embed.embeddings_io import read_embeddings
    from intraclip.gallery.adding import add_embeddings, read_tracklets
    from intraclip.gallery.gallery import opened_or_created

    assert args.embeddings is not None
    file = read_embeddings(args.embeddings)
    if not file.fingerprint:
        raise ConfigError(
            f"{args.embeddings} does not say which model made it; a gallery takes files of `intraclip extract` and "
            "`intraclip evaluate`"
        )
    naming = _naming(args)
    _tell_absent(naming, set(file.embeddings.camids.tolist()))
    tracklets = (
        read_tracklets(args.data, naming, layout=args.layout, split=args.split or 0)
        if args.data is not None
        else []
    )
    with opened_or_created(
        args.gallery,
        fingerprint=file.fingerprint,
        dimension=file.embeddings.features.shape[1],
        metric=args.distance,
        model=str(file.metadata.get("encoder", "")),
    ) as gallery:
        _tell_calibration(gallery)
        with progress_bar("tracklets") as update:
            summary = add_embeddings(
                gallery, file, naming, tracklets=tracklets, crops=args.crops, progress=update
            )
        return _finish(args, gallery, summary)


def _tell_absent(naming: Naming, cameras: set[int]) -> None:
    """No error: a camera may have seen nobody today."""
    if absent := sorted(naming.cameras.keys() - cameras):
        say(f"note: nothing here is from camera {', '.join(map(str, absent))}, which --camera-name names")


def _tell_calibration(gallery: Gallery) -> None:
    """What a new gallery's probabilities were learned from, where it was not the user's own material."""
    learned = learned_in_words(gallery)
    if learned and not gallery.stats().tracklets:
        say(learned)


def _finish(args: AddArgs, gallery: Gallery, summary: AddSummary) -> tuple[AddSummary, int, str]:
    if summary.added:
        audited(gallery, "add", {"tracklets": summary.added})
    if args.labels_of is not None:
        from intraclip.gallery.gallery import open_gallery
        from intraclip.gallery.labels import take_labels

        audited(gallery, "take labels", {"of": args.labels_of})
        with open_gallery(args.labels_of) as earlier:
            say(f"took over {take_labels(gallery, earlier):,} labels and judgements of {args.labels_of}")
    gallery.build_index()
    page = gallery.page(limit=1)
    return summary, gallery.stats().tracklets, page.records[0].id if page.records else ""


def _naming(args: AddArgs) -> Naming:
    from intraclip.gallery.adding import Naming

    cameras: dict[int, str] = {}
    for text in args.camera_name:
        number, _, name = text.partition("=")
        if not number.strip().isdecimal() or not name.strip():
            raise ConfigError(f"--camera-name {text!r}: write camid=name, such as 1=lobby")
        cameras[int(number)] = name.strip()
    started: dict[str, float] = {}
    for text in args.started_at:
        video, _, when = text.rpartition("=")
        started[video] = moment(when, "--started-at")
    return Naming(prefix=args.prefix, cameras=cameras, started_at=started, people=args.people)
