"""A run folder as the report reads it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intraclip.config import Recipe
from intraclip.config_io import parse_json
from intraclip.embed.embeddings_io import load_embeddings
from intraclip.errors import DataError
from intraclip.metrics.embeddings import Embeddings
from intraclip.recipe_files import load_recipe
from intraclip.train.run_folder import METRICS


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What a finished and scored run left behind.

    Attributes:
        name: what the page calls it.
        environment: of the training; empty when it was not written.
        throughput: where the training's time went; empty when it was not measured.
        epochs: one entry an epoch, as in `metrics.jsonl`; empty when there is none.
        evaluation: as `intraclip.embed.evaluate.evaluate` wrote it.
    """

    name: str
    folder: Path
    recipe: Recipe
    environment: Mapping[str, Any]
    throughput: Mapping[str, Any]
    epochs: tuple[Mapping[str, Any], ...]
    evaluation: Mapping[str, Any]
    embeddings: Embeddings

    @property
    def seconds(self) -> float | None:
        """Training time in seconds, all epochs together; None when unknown."""
        found = [float(entry["seconds"]) for entry in self.epochs if "seconds" in entry]
        return sum(found) if found else None

    @property
    def scores(self) -> Mapping[str, Mapping[str, Any]]:
        """Scores by protocol name."""
        return dict(self.evaluation["scores"])


def read_record(name: str, folder: Path) -> RunRecord:
    """Read a run folder.

    Raises:
        DataError: no run folder, not scored yet (the message names the command), or a damaged file.
    """
    config, score_it = folder / "config.toml", f"intraclip evaluate {shlex.quote(str(folder))} --data DIR"
    if not config.is_file():
        raise DataError(
            f"{folder} is not a run folder: it holds no config.toml; give a folder that training wrote"
        )
    for needed in ("evaluation.json", "embeddings.npz"):
        if not (folder / needed).is_file():
            raise DataError(
                f"the run {folder} has not been scored yet, there is no {needed}; run: {score_it}"
            )
    evaluation = _json(folder / "evaluation.json")
    data = evaluation.get("data", {}) if isinstance(evaluation, dict) else None
    if not isinstance(data, dict) or not evaluation.get("scores"):
        raise DataError(f"{folder / 'evaluation.json'} holds no scores; run again: {score_it}")
    return RunRecord(
        name=name,
        folder=folder,
        recipe=load_recipe(str(config)),
        environment=_json(folder / "environment.json", absent={}),
        throughput=_json(folder / "throughput.json", absent={}),
        epochs=tuple(read_log(folder)),
        evaluation=evaluation,
        embeddings=load_embeddings(folder / "embeddings.npz"),
    )


def _json(path: Path, *, absent: Any = None) -> Any:
    if absent is not None and not path.is_file():
        return absent
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}") from None


def read_log(run: Path) -> list[dict[str, Any]]:
    """What a run has written of each epoch; nothing where it has no log.

    Raises:
        DataError: a line is no JSON.
    """
    file = run / METRICS
    entries = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines() if file.is_file() else (), 1):
        try:
            entries.append(parse_json(line))
        except ValueError as error:
            raise DataError(f"{file}, line {number}, is not JSON: {error}; remove that line") from None
    return entries
