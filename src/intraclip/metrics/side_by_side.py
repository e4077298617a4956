"""The same embeddings under several protocols."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from intraclip.errors import DataError
from intraclip.metrics.protocols import PROTOCOLS, Protocol, protocol_named


def protocols_named(name: str) -> list[Protocol]:
    """One protocol by name, or ``all`` that search across cameras.

    >>> len(protocols_named("all")), len(protocols_named("within-camera"))
    (7, 1)
    """
    return [p for p in PROTOCOLS.values() if not p.own_camera] if name == "all" else [protocol_named(name)]


def distinct(protocols: Sequence[Protocol]) -> list[tuple[Protocol, list[str]]]:
    """Protocols that calculate differently, each with the names of all that calculate the same.

    >>> [same for _, same in distinct([PROTOCOLS["mars-full"], PROTOCOLS["prid2011"], PROTOCOLS["lsvid"]])]
    [['mars-full'], ['prid2011', 'lsvid']]
    """
    groups: dict[tuple[bool, str, bool], tuple[Protocol, list[str]]] = {}
    for protocol in protocols:
        rules = (protocol.queries_in_gallery, protocol.average_precision, protocol.own_camera)
        groups.setdefault(rules, (protocol, []))[1].append(protocol.name)
    return list(groups.values())


def scored_by(
    protocols: Sequence[Protocol], scores: Callable[[Protocol], Mapping[str, Any]]
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Scores by protocol name, with ``same_as``, the others that calculate the same; and why some have none.

    Raises:
        DataError: one protocol alone leaves nobody to find. Side by side with others, that is a finding.
    """
    found: dict[str, dict[str, Any]] = {}
    without: dict[str, str] = {}
    for rules, same in distinct(protocols):
        try:
            own = scores(rules)
        except DataError as error:
            if len(protocols) == 1:
                raise
            without |= {name: str(error) for name in same}
            continue
        for name in same:
            found[name] = {**own, "protocol": name, "same_as": [other for other in same if other != name]}
    return {p.name: found[p.name] for p in protocols if p.name in found}, without
