"""`intraclip alerts list`, `watch`, `watched`, `unwatch`, `confirm` and `reject`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import tyro

from intraclip.cli.common import ForPrograms, Parts, print_json, print_table, say
from intraclip.cli.gallery_flags import InGallery, Model, audited, clock, login, open_model
from intraclip.core.settings import bounded
from intraclip.errors import ConfigError

HELP = """usage: intraclip alerts COMMAND GALLERY [options]

  list GALLERY                           what the cameras found, newest first
  watch GALLERY --tracklet ID            look for a person from now on
  watch GALLERY --images FILE ...        the same, by pictures of the person
  watched GALLERY                        who is looked for, and what was learned
  unwatch GALLERY PERSON                 look for a person no more
  confirm GALLERY ALERT                  it was that person
  reject GALLERY ALERT                   it was somebody else

`intraclip live GALLERY` watches the cameras; what is confirmed and rejected
teaches the threshold.
`intraclip alerts watch --help` and so on explain the options."""


@dataclass(frozen=True, kw_only=True)
class ListArgs(InGallery, ForPrograms):
    """List alerts, the newest first."""

    limit: int = bounded(20, 1)
    """Most alerts to list."""
    open: bool = False
    """Only those that nobody has confirmed or rejected."""


@dataclass(frozen=True, kw_only=True)
class WatchArgs(InGallery, Model, ForPrograms):
    """Put a person on the watch-list: `intraclip live` raises an alert when somebody passes as them.

    Pictures become a tracklet of the gallery, of a camera called watch-list; they need the gallery's network.
    """

    tracklet: tuple[str, ...] = ()
    """Tracklets of the gallery that show the person."""
    images: tuple[Path, ...] = ()
    """Pictures of the person, cut out."""
    name: str = ""
    """What the person is called in alerts."""
    false_match_rate: float = 0.001
    """Share of strangers' tracklets that may pass as this person."""


@dataclass(frozen=True, kw_only=True)
class WatchedArgs(InGallery, ForPrograms):
    """List who is looked for, and what was learned from what people said of the alerts."""


@dataclass(frozen=True, kw_only=True)
class UnwatchArgs(InGallery):
    """Take a person off the watch-list; tracklets and alerts stay."""

    person: tyro.conf.Positional[str]
    """Number or name of `intraclip alerts watched`."""


@dataclass(frozen=True, kw_only=True)
class JudgeArgs(InGallery):
    """Say whether an alert was right."""

    alert: tyro.conf.Positional[str]
    """Number of `intraclip alerts list`."""


def _list(args: ListArgs) -> int:
    from intraclip.live.alerts import Alerts

    with args.opened() as gallery:
        audited(gallery, "list", {"alerts": True})
        found = Alerts(gallery).read()
    found = [a for a in found if not args.open or a.said is None]
    shown = found[: args.limit]
    if args.json:
        print_json([asdict(alert) for alert in shown])
        return 0
    if not found:
        say("no alerts")
        return 0
    said = {None: "", True: "confirmed", False: "rejected"}
    print_table(
        ["alert", "raised", "person", "camera", "tracklet", "distance", "likely", "said"],
        [
            [
                a.id.lstrip("0"), clock(a.at), a.name or a.watched, a.camera, a.tracklet, f"{a.distance:.3f}",
                f"{100 * a.probability:.0f} %", said[a.said],
            ]
            for a in shown
        ],
    )  # fmt: skip
    if len(found) > len(shown):
        say(f"{len(found) - len(shown):,} more: --limit")
    return 0


def _watch(args: WatchArgs) -> int:
    from intraclip.live.watchlist import WatchList, add_pictures

    if bool(args.tracklet) == bool(args.images):
        raise ConfigError("name the person: --tracklet ID ..., or --images FILE ...")
    with args.opened() as gallery:
        people = WatchList(gallery)
        people.calibration().threshold(args.false_match_rate)
        if args.images:
            from intraclip.core.media import read_picture

            pictures = [read_picture(path) for path in args.images]
            network = open_model(args, gallery)
            audited(gallery, "watch", {"pictures": len(pictures)})
            tracklets: tuple[str, ...] = (add_pictures(gallery, network, pictures),)
        else:
            for tracklet in args.tracklet:
                gallery.record(tracklet)
            audited(gallery, "watch", {"tracklets": list(args.tracklet)})
            tracklets = args.tracklet
        added = people.add(tracklets, rate=args.false_match_rate, name=args.name)
    if args.json:
        print_json(asdict(added))
    else:
        say(
            f"number {added.id} of the watch-list, by {len(added.tracklets)} tracklets, false-match rate "
            f"{added.rate:g}; cameras that run already look for them too"
        )
    return 0


def _watched(args: WatchedArgs) -> int:
    from intraclip.live.watchlist import WatchList

    with args.opened() as gallery:
        audited(gallery, "list", {"watch-list": True})
        people = WatchList(gallery)
        found = people.with_learned()
    if args.json:
        print_json([{**asdict(person), **asdict(learned)} for person, learned in found])
        return 0
    if not found:
        say("nobody is on the watch-list; `intraclip alerts watch` puts somebody there")
        return 0
    print_table(
        ["person", "number", "tracklets", "rate", "compared", "alerts", "confirmed", "rejected", "strangers pass"],
        [
            [
                p.name or "-", p.id, str(len(p.tracklets)), f"{p.rate:g}", f"{k.compared:,}", f"{k.alerts:,}",
                str(k.confirmed), str(k.rejected), f"{k.factor:.2g} times as often",
            ]
            for p, k in found
        ],
    )  # fmt: skip
    return 0


def _unwatch(args: UnwatchArgs) -> int:
    from intraclip.live.watchlist import WatchList

    with args.opened() as gallery:
        people = WatchList(gallery)
        person = people.person(args.person)
        audited(gallery, "unwatch", {"number": person.id})
        people.remove(person.id)
    say(f"number {person.id} is on the watch-list no more")
    return 0


def _judge(args: JudgeArgs, *, same: bool) -> int:
    word = "confirm" if same else "reject"
    from intraclip.live.alerts import Alerts

    with args.opened() as gallery:
        alerts = Alerts(gallery)
        alert = alerts.get(args.alert)
        audited(gallery, word, {"query": alert.reference, "tracklet": alert.tracklet})
        alerts.judge(alert.id, same=same, by=login())
    say(f"alert {args.alert} is {word}ed")
    return 0


PARTS: Parts = {
    "list": (ListArgs, _list),
    "watch": (WatchArgs, _watch),
    "watched": (WatchedArgs, _watched),
    "unwatch": (UnwatchArgs, _unwatch),
    "confirm": (JudgeArgs, partial(_judge, same=True)),
    "reject": (JudgeArgs, partial(_judge, same=False)),
}
