"""Galleries that are damaged on purpose, and what they must still answer: exactly what is right, or a clear error.

PYTHONPATH=tests python -m gallery.hostile 500        figures of docs/security.md
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gallery.gallery_world import MODEL, SIZE, fill, pictures, record, vectors
from intraclip.errors import DamagedError, DataError, IntraclipError
from intraclip.gallery.folder_files import RESERVE
from intraclip.gallery.gallery import Gallery, create_gallery, open_gallery
from intraclip.gallery.records import Filters, Pictures

Answers = dict[str, Any]


def make_pristine(folder: Path, *, dense: bool) -> None:
    """A gallery with something of everything.

    Args:
        folder: where.
        dense: without large pictures, so that damage meets tables and indices; and closed. Else its last changes are
            in the write-ahead log alone, as after a kill.
    """
    work = folder.with_name("work")
    create_gallery(work, fingerprint=MODEL, dimension=SIZE, metric="euclidean", model="a model").close()
    with open_gallery(work) as gallery:
        fill(gallery, 30, shown=0 if dense else 3)
        gallery.set_person(["t0001", "t0004"], "Annabel")
        gallery.confirm("t0002", "t0003", by="kim")
        gallery.reject("t0004", "t0007")
        gallery._store.put_document("note", json.dumps({"text": "n" * 300}))
        gallery.delete(Filters(ids=frozenset({"t0010", "t0011"})))
        gallery.audit("search", {"tracklet": "t0002"}, actor="kim", origin="here")
        for number in range(40, 44):
            gallery.add(
                [record(number)],
                vectors(1, seed=number),
                fingerprint=MODEL,
                pictures=[Pictures(strip=b"strip", crops=(b"crop",)) if dense else pictures(number)],
            )
        gallery.audit("search", {"tracklet": "t0003"}, actor="kim", origin="here")
        if not dense:
            shutil.copytree(work, folder)
    if dense:
        shutil.copytree(work, folder)
    (folder / RESERVE).unlink()
    shutil.rmtree(work)


QUESTIONS: dict[str, Callable[[Gallery], Any]] = {
    "info": lambda g: (g.info.fingerprint, g.info.metric, g.info.dimension, g.info.model, g.info.created_at),
    "list": lambda g: [r.to_json_dict() for r in g.all_records()],
    "camera": lambda g: [r.id for r in g.all_records(Filters(cameras=frozenset({"hall"})))],
    "person": lambda g: [r.id for r in g.all_records(Filters(people=frozenset({"Annabel"})))],
    "time": lambda g: [r.id for r in g.all_records(Filters(from_s=50, to_s=120))],
    "one": lambda g: g.record("t0005").to_json_dict(),
    "absent": lambda g: sorted(g.find(["t0010", "t0012", "t0041", "nobody"])),
    "stats": lambda g: {k: v for k, v in g.stats().to_json_dict().items() if k not in ("size_bytes", "info")},
    "vectors": lambda g: g.vectors(["t0000", "t0007", "t0042"]).tolist(),
    "search": lambda g: found(g.search(vectors(1, seed=5)[0], fingerprint=MODEL, k=40)),
    "search own": lambda g: found(g.search_tracklet("t0003", k=7)),
    "search person": lambda g: found(
        g.search(vectors(1)[0], fingerprint=MODEL, filters=Filters(people=frozenset({"Annabel"})))
    ),
    "search without": lambda g: found(
        g.search(vectors(1)[0], fingerprint=MODEL, filters=Filters(exclude_ids=frozenset({"t0001", "t0040"})))
    ),
    "strip": lambda g: [g.strip(i) for i in ("t0000", "t0002", "t0043", "t0020")],
    "crops": lambda g: [g.crops(i) for i in ("t0001", "t0041")],
    "judgements": lambda g: g.judgements(),
    "document": lambda g: g._store.document("note"),
    "audit": lambda g: g.audit_log(),
}


def found(result: Any) -> list[tuple[str, float, str]]:
    return [(m.record.id, m.distance, m.record.person) for m in result.matches]


def answers(folder: Path) -> Answers:
    """To every question what the gallery says, or the error that it gives."""

    def ask(question: Callable[[Gallery], Any]) -> Any:
        try:
            return question(gallery)
        except IntraclipError as error:
            return error

    try:
        gallery = open_gallery(folder)
    except IntraclipError as error:
        return dict.fromkeys(QUESTIONS, error)
    with gallery:
        return {name: ask(question) for name, question in QUESTIONS.items()}


def outcome(right: Answers, given: Answers) -> str:
    """``right``, ``refused`` or ``WRONG`` with the questions that were answered wrongly."""
    wrong = [
        name
        for name, answer in given.items()
        if answer != right[name] and not (isinstance(answer, DataError) and explains(answer))
    ]
    if wrong:
        return f"WRONG {wrong}"
    return "refused" if any(isinstance(a, IntraclipError) for a in given.values()) else "right"


def explains(error: DataError) -> bool:
    """Whether an error says that the gallery is damaged, or is none of this program's and version's."""
    other = ("database of another program", "has format version")
    return isinstance(error, DamagedError) or any(text in str(error) for text in other)


def flip(path: Path, rng: np.random.Generator) -> str:
    """Change one byte of a file; mostly one that is not zero, as most of a young database is empty."""
    data = np.fromfile(path, np.uint8)
    places = np.flatnonzero(data) if rng.random() < 0.8 else np.arange(len(data))
    place = int(rng.choice(places))
    data[place] ^= rng.integers(1, 256, dtype=np.uint8)
    data.tofile(path)
    return f"{path.name} at {place}"


def truncate(path: Path, rng: np.random.Generator) -> str:
    """Cut a file short."""
    size = int(rng.integers(path.stat().st_size))
    with path.open("r+b") as file:
        file.truncate(size)
    return f"{path.name} cut to {size}"


def blank(path: Path, rng: np.random.Generator) -> str:
    """Overwrite a sector, as a failing disk does."""
    data = bytearray(path.read_bytes())
    place = int(rng.integers(len(data))) // 512 * 512
    data[place : place + 512] = bytes([rng.choice([0, 255])]) * len(data[place : place + 512])
    path.write_bytes(data)
    return f"{path.name} sector at {place}"


def trial(
    pristine: Path, right: Answers, seed: int, damage: Callable[[Path, np.random.Generator], str] = flip
) -> str:
    """Damage a copy of a gallery and ask it everything."""
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "g"
        shutil.copytree(pristine, folder)
        # Files with much in them more often; all of them sometimes.
        files = sorted(p for p in folder.iterdir() if p.stat().st_size)
        weights = np.array([p.stat().st_size ** 0.5 for p in files])
        what = damage(files[rng.choice(len(files), p=weights / weights.sum())], rng)
        result = outcome(right, answers(folder))
    return result if not result.startswith("WRONG") else f"{result}: seed {seed}, {what}"


def prepared(folder: Path, *, dense: bool) -> tuple[Path, Answers]:
    """A pristine gallery, and what is right to answer of it."""
    make_pristine(folder, dense=dense)
    with tempfile.TemporaryDirectory() as work:
        shutil.copytree(folder, Path(work) / "g")
        right = answers(Path(work) / "g")
    assert not any(isinstance(a, Exception) for a in right.values()), right
    return folder, right


def main() -> None:
    count = int(sys.argv[1])
    with tempfile.TemporaryDirectory() as work:
        kinds = [prepared(Path(work) / name, dense=name == "dense") for name in ("dense", "whole")]
        for damage in (flip, truncate, blank):
            results: Counter[str] = Counter()
            for seed in range(count if damage is flip else count // 4):
                result = trial(*kinds[seed % 2], seed, damage)
                results[result.split(" ")[0]] += 1
                if result.startswith("WRONG"):
                    print(result, flush=True)
            print(damage.__name__, dict(results), flush=True)


if __name__ == "__main__":
    main()
