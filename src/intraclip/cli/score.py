"""`intraclip score`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from intraclip.cli.common import (
    SHOWN_SCORES,
    also,
    not_scored,
    one_of_each,
    print_interval,
    print_json,
    print_table,
    say,
    score_table,
    tell,
)
from intraclip.core.settings import bounded

if TYPE_CHECKING:
    from intraclip.embed.embeddings_io import EmbeddingsFile
    from intraclip.metrics.calibration import PairDistances
    from intraclip.metrics.printed import Trace

RATES = (1e-2, 1e-3, 1e-4)
"""False-match rates whose thresholds are printed; the calibration holds more."""

_SHOWN = 5
"""Rows of a finding of --audit, and ways of counting, that are named; the JSON holds all."""


@dataclass(frozen=True, kw_only=True)
class ScoreArgs:
    """Score embeddings of any system: CMC rank-1/5/10/20, mAP and mINP, with 95 % intervals.

    The file is an .npz, or a Parquet file with the same names as columns: features [N, D], pids [N], camids [N],
    is_query [N], and names [N] if there are any. One row is one tracklet.
    """

    file: tyro.conf.Positional[Path]
    """Embeddings file, .npz or .parquet."""
    protocol: str | None = None
    """Protocol by name, or `all` for every one side by side; by default the usual one of the data set, if the file says
    which, else cross-camera: queries search the rest across cameras."""
    distance: Literal["euclidean", "cosine"] = "euclidean"
    """Distance between embeddings."""
    against: Path | None = None
    """Embeddings of another system for the same tracklets: adds a paired comparison, this file minus that one."""
    rerank: bool = False
    """Score k-reciprocal re-ranked distances too: they use all queries together, and are compared with their like."""
    calibrate: Path | None = None
    """Write thresholds for "the same person" to this .json file, and print them and the equal error rate."""
    force: bool = False
    """Replace the file of --calibrate if it exists."""
    seed: int = bounded(0, 0)
    """Seed of the resampling behind intervals and comparison."""
    device: str | None = None
    """Count rankings on this device, such as cuda; the scores are the same."""
    audit: bool = False
    """Name what makes numbers wrong instead: camera ids, copies, junk, ties and more (docs/audit.md); exits with 1 if
    anything does."""
    against_log: tuple[Path, ...] = ()
    """With --audit: logs of an evaluator; says which way of counting this file gives the rank-1 and mAP in them."""
    audit_train: Path | None = None
    """With --audit: embeddings of the people that were trained on; nobody of them may be tested."""
    json: bool = False
    """Print the result as JSON, keyed by protocol."""


def main(args: ScoreArgs) -> int:
    """Run the command."""
    from intraclip.embed.embeddings_io import read_embeddings
    from intraclip.embed.score import calibrate_file, score_file
    from intraclip.errors import ConfigError, OutputError
    from intraclip.metrics.protocols import protocol_named

    if args.calibrate is not None and args.calibrate.exists() and not args.force:
        raise OutputError(f"{args.calibrate} exists; name another file, or add --force to replace it")
    if not args.audit and (args.against_log or args.audit_train):
        raise ConfigError("--against-log and --audit-train belong to --audit; add it")
    if args.audit and (args.against or args.rerank or args.calibrate):
        raise ConfigError("--audit takes no --against, --rerank or --calibrate; run `score` again for these")
    file = read_embeddings(args.file)
    if args.audit:
        return _audit(args, file)
    against = read_embeddings(args.against) if args.against is not None else None
    found = score_file(
        file,
        protocol=args.protocol,
        distance=args.distance,
        against=against,
        rerank=args.rerank,
        seed=args.seed,
        device=args.device,
    )
    pairs, added = None, {}
    if args.calibrate is not None:
        from intraclip.core.files import write_json

        calibration, pairs = calibrate_file(file, protocol=args.protocol, distance=args.distance)
        write_json(args.calibrate, calibration.to_json_dict(), replace=args.force)
        added = {"calibration": calibration.to_json_dict()}
    if args.json:
        print_json(
            {name: {**r, "notes": [*r["notes"], *found.notes], **added} for name, r in found.results.items()}
        )
        for line in not_scored(found.not_scored):
            say(line)
        return 0
    size, queries = file.embeddings.features.shape[1], int(file.embeddings.is_query.sum())
    tell(f"{args.file}: {len(file.embeddings):,} tracklets, {queries:,} queries, embeddings of size {size}")
    shown = one_of_each(found.results)  # protocols that calculate the same share one row
    score_table(shown)
    if args.rerank:
        reranked = {name: result["reranked"] for name, result in shown.items()}
        score_table({f"{name}, re-ranked": result for name, result in reranked.items()})
        tell(
            f"re-ranked: {next(iter(reranked.values()))['label']}; uses all queries and the gallery together, so "
            "compare it with other re-ranked scores alone"
        )
    for line in not_scored(found.not_scored):
        tell(line)
    for name, result in shown.items():
        tell(f"{name}{also(result)}: {protocol_named(name).about}")
        print_interval(result)
        for note in result["notes"]:
            tell(f"  {note}")
    if against is not None:
        _compare(shown)
    if pairs is not None:
        _thresholds(pairs)
        tell(f"written: {args.calibrate}")
    for note in found.notes:
        tell(f"note: {note}")
    tell(f"distance {args.distance}; queries without a match are not counted")
    if args.protocol is None and "cross-camera" in found.results:
        tell(
            "cross-camera is the default: queries are not searched themselves. Papers on MARS mostly use mars-full; "
            "--protocol all prints every protocol"
        )
    return 0


def _thresholds(pairs: PairDistances) -> None:
    from intraclip.metrics.calibration import equal_error_rate, threshold_at

    rows = []
    for rate in RATES:
        t = threshold_at(pairs, rate)
        # A rate that lets a handful of pairs pass, or none, cannot be measured with so few pairs.
        share = f"{100 * t.true_match_rate:.1f}" + ("" if t.supported else " (too few pairs)")
        rows.append([f"false-match rate {rate:g}", f"{t.threshold:.4f}", f"{t.false_matches:,}", share])
    print_table(["same person when", "distance below", "false matches", "true matches, %"], rows)
    equal = equal_error_rate(pairs)
    tell(
        f"equal error rate {100 * equal.rate:.2f} % at distance {equal.threshold:.4f}; "
        f"{len(pairs.genuine):,} pairs of one person, {pairs.impostors:,} of two, across cameras"
    )


def _compare(results: Mapping[str, Mapping[str, Any]]) -> None:
    rows = []
    for name, result in results.items():
        for key, label in SHOWN_SCORES.items():
            s = result["against"]["scores"][key]
            ends = f"{100 * s['low']:+.1f} to {100 * s['high']:+.1f}"
            values = (f"{100 * s['first']:.1f}", f"{100 * s['second']:.1f}", f"{100 * s['difference']:+.1f}")
            rows.append([f"{name}, {label}", *values, ends, f"{s['p_value']:.4f}"])
    print_table(["paired comparison", "other file", "this file", "difference", "95 % interval", "p"], rows)
    tell("p: a flip test over people; it says nothing about other training seeds")


def _audit(args: ScoreArgs, file: EmbeddingsFile) -> int:
    """Print what makes the numbers of a file wrong, and where the numbers of logs come from; 1 if anything does."""
    from intraclip.data.readers.common import shorten
    from intraclip.embed.embeddings_io import load_embeddings
    from intraclip.embed.score import default_protocol
    from intraclip.errors import ConfigError, DataError
    from intraclip.metrics.audit import REMEDIES, audit
    from intraclip.metrics.printed import printed_scores, trace
    from intraclip.metrics.protocols import protocol_named

    rules = protocol_named(default_protocol(file) if args.protocol is None else args.protocol)
    if rules.own_camera:
        raise ConfigError(f"--audit looks across cameras; protocol {rules.name} does not")
    known = None if args.audit_train is None else load_embeddings(args.audit_train)
    printed = {}
    for log in args.against_log:
        try:
            printed[log] = printed_scores(log.read_text(encoding="utf-8", errors="replace"))
        except OSError as error:
            raise DataError(f"the log {log} cannot be read: {error.strerror}") from None
        if not printed[log]:
            raise DataError(
                f"the log {log} holds no rank-1 and no mAP, such as 'Rank-1: 87.1%' or 'mAP: 0.762'"
            )
    embeddings = file.embeddings
    findings = audit(embeddings, rules, distance=args.distance, train=known)
    ties = any(finding.fault == "ties-by-order" for finding in findings)
    traces = {log: trace(embeddings, found, ties=ties) for log, found in printed.items()}
    if args.json:
        print_json(
            {
                "protocol": rules.name,
                "distance": args.distance,
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
        tell(f"  {rules.name}, {args.distance}: {_percent(finding.before)}; {mended}")
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
