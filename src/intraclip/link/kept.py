"""The linking that a gallery keeps, so that the next one gives people their numbers and names again.

It lies in papers of the gallery (`intraclip.gallery.papers`), so that a tracklet that is deleted is forgotten here too,
and a person with the last one. A new linking is written beside the old one; the paper that says which of them counts
is written last.
"""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

from intraclip.errors import DataError, OutputError
from intraclip.gallery.gallery import Gallery
from intraclip.gallery.papers import EACH, TRACKLETS
from intraclip.link.changes import Before
from intraclip.link.people import People

PART, WHICH, NOW = "linked", "linking", "now"
"""Kinds of papers, and the key of the one that says which linking counts."""

PIECE = 32_000
"""Characters of a paper's tracklets, at most: a server's notes are short."""

TRIES = 3


def kept_in(gallery: Gallery) -> Before | None:
    """The linking that a gallery keeps; None without one.

    Raises:
        OutputError: others replace it too fast to be read.
    """
    which = _which(gallery)
    for _ in range(TRIES):
        if which is None:
            return None
        parts = _parts(gallery, which["linking"])
        now = _which(gallery)
        if now is None or now["linking"] == which["linking"]:
            break
        which = now  # another process wrote the next one meanwhile
    else:
        raise OutputError(
            f"the gallery {gallery.info.address} is linked again and again by others; wait for them"
        )
    each = {
        tracklet: said
        for part in parts.values()
        for tracklet, said in zip(part[TRACKLETS], part[EACH], strict=True)
    }
    return Before(
        person={tracklet: int(number) for tracklet, (number, _) in each.items()},
        labels={int(number): str(label) for number, label in each.values() if label},
        following=int(which["following"]),
        key=which["linking"],
    )


def keep_in(gallery: Gallery, people: People, before: Before | None) -> None:
    """Keep a linking in the place of the one `before`, which was kept when these people were numbered.

    Tracklets that are no longer in the gallery are left out.

    Raises:
        OutputError: it cannot be written, or somebody else linked the gallery meanwhile; their linking stays.
    """
    linking = f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}"  # older ones sort before it
    there = gallery.find(people.names)
    # A label is the gallery's own: where it is taken away, the name goes.
    names = {
        number: name
        for number, name in people.labels.items()
        if not any(
            there[people.names[row]].person == name
            for row in people.members(number).tolist()
            if people.names[row] in there
        )
    }
    size, parts = 0, list[list[tuple[str, list[Any]]]]()
    for tracklet, number in zip(people.names, people.person.tolist(), strict=True):
        if tracklet not in there:  # deleted while it was linked
            continue
        said = [number, names.get(number, "")]
        size += len(json.dumps([tracklet, said]))
        if size > PIECE or not parts:
            parts.append([])
            size = 0
        parts[-1].append((tracklet, said))
    for number, part in enumerate(parts):
        _put_part(gallery, f"{linking}-{number:05d}", part)
    now = _which(gallery)
    if (now["linking"] if now else "") != (before.key if before else ""):
        for key in _parts(gallery, linking):
            gallery.drop_paper(PART, key)
        raise OutputError(
            f"somebody else linked the gallery {gallery.info.address} meanwhile, and that linking stays; link it again"
        )
    gallery.put_paper(WHICH, NOW, {"linking": linking, "following": people.following}, [], needs_all=False)
    for key in gallery.papers(PART):
        if key < linking:
            gallery.drop_paper(PART, key)


def _put_part(gallery: Gallery, key: str, part: list[tuple[str, list[Any]]]) -> None:
    """Keep a part, without tracklets that are deleted at this moment."""
    while part:
        try:
            gallery.put_paper(
                PART, key, {EACH: [said for _, said in part]}, [name for name, _ in part], needs_all=False
            )
            return
        except DataError:
            there = gallery.find([name for name, _ in part])
            left = [(name, said) for name, said in part if name in there]
            if len(left) == len(part):
                raise
            part = left


def _which(gallery: Gallery) -> dict[str, Any] | None:
    return gallery.papers(WHICH).get(NOW)


def _parts(gallery: Gallery, linking: str) -> dict[str, dict[str, Any]]:
    return {key: part for key, part in gallery.papers(PART).items() if key.startswith(linking)}
