"""`intraclip score --audit`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from intraclip.cli.common import SHOWN_SCORES, print_json, tell
from intraclip.metrics.distance import Distance

if TYPE_CHECKING:
    from intraclip.embed.embeddings_io import EmbeddingsFile
    from intraclip.metrics.printed import Trace

_SHOWN = 5
"""Rows of a finding, and ways of counting, that are named; the JSON holds all."""


def audit_command(
    file: EmbeddingsFile,
    *,
    protocol: str | None,
    distance: Distance,
    train: Path | None,
    logs: Sequence[Path],
    as_json: bool,
) -> int:
    """Print what makes the numbers of a file wrong, and where the numbers of logs come from; 1 if anything does."""
    from intraclip.data.readers.common import shorten
    from intraclip.embed.embeddings_io import load_embeddings
    from intraclip.embed.score import default_protocol
    from intraclip.errors import ConfigError, DataError
    from intraclip.metrics.audit import REMEDIES, audit
    from intraclip.metrics.printed import printed_scores, trace
    from intraclip.metrics.protocols import protocol_named

    rules = protocol_named(default_protocol(file) if protocol is None else protocol)
    if rules.own_camera:
        raise ConfigError(f"--audit looks across cameras; protocol {rules.name} does not")
    known = None if train is None else load_embeddings(train)
    printed = {}
    for log in logs:
        try:
            printed[log] = printed_scores(log.read_text(encoding="utf-8", errors="replace"))
        except OSError as error:
            raise DataError(f"the log {log} cannot be read: {error.strerror}") from None
        if not printed[log]:
            raise DataError(
                f"the log {log} holds no rank-1 and no mAP, such as 'Rank-1: 87.1%' or 'mAP: 0.762'"
            )
    embeddings = file.embeddings
    findings = audit(embeddings, rules, distance=distance, train=known)
    ties = any(finding.fault == "ties-by-order" for finding in findings)
    traces = {log: trace(embeddings, found, ties=ties) for log, found in printed.items()}
    if as_json:
        print_json(
            {
                "protocol": rules.name,
                "distance": distance,
                "findings": [finding.to_json_dict(embeddings.names) for finding in findings],
                "logs": {str(log): [t.to_json_dict() for t in found] for log, found in traces.items()},
            }
        )
        return 1 if findings else 0
    for finding in findings:
        tell(f"{finding.fault}: {finding.what}")
        rows = [embeddings.names[i] if embeddings.names else f"row {i}" for i in finding.rows]
        tell(f"  rows: {shorten(rows, _SHOWN)}")
        mended = (
            f"mended {_percent(finding.after)}"
            if finding.after
            else "what it costs cannot be told from the file"
        )
        tell(f"  {rules.name}, {distance}: {_percent(finding.before)}; {mended}")
        tell(f"  do: {REMEDIES[finding.fault]}")
    tell(
        f"{file.path}: {len(findings) or 'no'} finding{'s' * (len(findings) != 1)} in {len(embeddings):,} rows"
    )
    for log, found in traces.items():
        for one in found:
            tell(f"{log}, line {one.printed.line}: {_percent(one.printed.scores)} {_origin(one)}")
    return 1 if findings else 0


def _origin(found: Trace) -> str:
    if not found.ways:
        return (
            f"is given by no way of counting; the nearest, {_percent(found.nearest_scores)}: {found.nearest}"
        )
    more = f"; and {len(found.ways) - _SHOWN} ways more" if len(found.ways) > _SHOWN else ""
    return "is given by: " + "; or ".join(map(str, found.ways[:_SHOWN])) + more


def _percent(scores: Mapping[str, Any] | None) -> str:
    if scores is None:
        return "cannot be scored"
    return " and ".join(
        f"{SHOWN_SCORES[key]} {100 * scores[key]:.1f}" for key in SHOWN_SCORES if key in scores
    )
