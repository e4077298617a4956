"""`intraclip gallery search`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from intraclip.cli.common import ForPrograms, print_json, print_table, say
from intraclip.cli.gallery_flags import (
    Chosen,
    InGallery,
    Model,
    audited,
    filters_of,
    learned_in_words,
    open_model,
    require_new,
    tell_unknown,
    time_of,
)
from intraclip.core.files import write_private
from intraclip.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from intraclip.gallery.gallery import Gallery
    from intraclip.gallery.records import SearchResult


@dataclass(frozen=True, kw_only=True)
class SearchArgs(InGallery, Model, Chosen, ForPrograms):
    """Find the tracklets that look most like a tracklet of the gallery, pictures of a person, or a box in a video.

    Pictures and videos need the network that made the gallery: --model, where it has no name here.
    """

    tracklet: str | None = None
    """Search for this tracklet of the gallery."""
    images: tuple[Path, ...] = ()
    """Search for the person on these pictures, cut out, in order of time."""
    video: Path | None = None
    """Search for the person of a clip that shows nobody else; or, with --frame and --box, of a box in a video."""
    frame: int | None = None
    """Number of the frame, from 0."""
    box: str | None = None
    """x,y,w,h in pixels: left, top, width, height."""
    k: int = 10
    """Answers wanted."""
    own_camera: bool = False
    """With --tracklet: search its own camera too."""
    exclude_camera: tuple[str, ...] = ()
    """Leave out these cameras."""
    false_match_rate: float | None = None
    """Say which answers pass, when so many of a thousand strangers may (0.001); needs a calibration."""
    out: Path | None = None
    """Picture of the answers to write, .png or .jpg."""


def search(args: SearchArgs) -> int:
    """Run the command."""
    if sum([args.tracklet is not None, bool(args.images), args.video is not None]) != 1:
        raise ConfigError("name one query: --tracklet ID, --images FILE..., or --video FILE")
    if args.out is not None:
        require_new(args.out)
    filters = replace(filters_of(args), exclude_cameras=frozenset(args.exclude_camera))
    with args.opened() as gallery:
        tell_unknown(args, gallery, without=args.exclude_camera)
        told = {"k": args.k, **filters.for_audit(), "pictures": args.out is not None}
        asked: dict[str, Any] = {"k": args.k, "filters": filters, "false_match_rate": args.false_match_rate}
        if args.tracklet is not None:
            own = gallery.record(args.tracklet).camera
            if own in args.camera and not args.own_camera:
                say(
                    f"note: {args.tracklet} is of the camera {own!r} itself, which is left out without --own-camera"
                )
            audited(gallery, "search", {"tracklet": args.tracklet, **told})
            found = gallery.search_tracklet(args.tracklet, own_camera=args.own_camera, **asked)
        else:
            network = open_model(args, gallery)
            gallery.require_fingerprint(network.fingerprint)
            vector = network.embed([_query_pictures(args)])[0]
            audited(gallery, "search-upload", {"files": len(args.images) or 1, **told})
            found = gallery.search(vector, fingerprint=network.fingerprint, **asked)
        if args.out is not None:
            _draw(args, gallery, found)
        learned = learned_in_words(gallery)
    if args.json:
        print_json({**vars(found), "matches": [m.to_json_dict() for m in found.matches]})
        return 0
    _print_matches(found)
    if learned and found.matches:
        print(learned)
    return 0


def _query_pictures(args: SearchArgs) -> list[npt.NDArray[np.uint8]]:
    from intraclip.core.media import read_picture
    from intraclip.gallery.queries import read_box, read_clip

    if args.images:
        return [read_picture(path) for path in args.images]
    assert args.video is not None
    if (args.frame is None) != (args.box is None):
        raise ConfigError("--frame and --box belong together: the box is in that frame of the video")
    if args.frame is None or args.box is None:
        return read_clip(args.video)
    try:
        left, top, width, height = map(float, args.box.split(","))
    except ValueError:
        raise ConfigError(
            f"--box {args.box!r}: write left,top,width,height in pixels, such as 120,80,60,160"
        ) from None
    return read_box(args.video, frame=args.frame, box=(left, top, width, height))


def _print_matches(found: SearchResult) -> None:
    if not found.matches:
        say("nothing passes the filters")
        return
    header = ["tracklet", "rank", "camera", "person", "time", found.metric]
    if found.matches[0].probability is not None:
        header.append("probability")
    if found.threshold is not None:
        header.append("same person")
    rows = []
    for match in found.matches:
        r = match.record
        row = [r.id, str(match.rank), r.camera, r.person, time_of(r), f"{match.distance:.4f}"]
        if match.probability is not None:
            row.append(f"{match.probability:.3f}")
        if match.passes is not None:
            row.append("yes" if match.passes else "no")
        rows.append(row)
    print_table(header, rows)
    if found.threshold is not None:
        print(
            f"same person: {found.metric} distance below {found.threshold:.4f}, false-match rate "
            f"{found.false_match_rate:g}"
        )
    if not found.exact:
        print("the index chose what was compared; a few near ones may be missing")


def _draw(args: SearchArgs, gallery: Gallery, found: SearchResult) -> None:
    import numpy as np

    from intraclip.core.media import decode_picture
    from intraclip.gallery.pictures import STRIP_HEIGHT, STRIP_WIDTH, strip_of
    from intraclip.report.strips import encode_picture, ranked_picture

    def strip(tracklet: str) -> npt.NDArray[np.uint8]:
        data = gallery.strip(tracklet)
        if not data:
            return np.full((1, STRIP_HEIGHT, STRIP_WIDTH, 3), 230, dtype=np.uint8)
        return decode_picture(np.frombuffer(data, np.uint8), f"strip of {tracklet}")[None]

    query = strip(args.tracklet) if args.tracklet is not None else strip_of(_query_pictures(args)[:5])[None]
    answers = [
        (
            strip(m.record.id),
            f"{m.rank}. {m.record.id} {m.distance:.3f}"
            + ("" if m.probability is None else f" p {m.probability:.2f}"),
        )
        for m in found.matches
    ]
    assert args.out is not None
    write_private(args.out, encode_picture(ranked_picture(query, answers), args.out.suffix))
    say(f"the picture is {args.out}")
