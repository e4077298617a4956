"""Rendered people that experiments are made on, where no data are given."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

from intraclip.errors import DataError, OutputError
from intraclip.lab.view import View
from intraclip.studio import BenchmarkConfig, make_benchmark


def render(root: Path, config: BenchmarkConfig, view: View) -> None:
    """Render a data set; `root` is there once all of it is, and after an interruption it begins anew."""
    partial = root.with_name(root.name + ".partial")
    try:
        if partial.exists():
            shutil.rmtree(partial)
        with view.progress(f"rendering {config.layout}") as progress:
            make_benchmark(partial, config, progress=progress)
        partial.rename(root)
    except OSError as error:
        raise OutputError(f"people cannot be rendered to {root}: {error}") from None


def check_rendered(root: Path, config: BenchmarkConfig) -> None:
    """Refuse data that were rendered with other settings."""
    try:
        found = json.loads((root / "benchmark.json").read_text(encoding="utf-8"))["config"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{root / 'benchmark.json'} cannot be read: {error}; delete {root}") from None
    wanted = json.loads(json.dumps(asdict(config)))
    different = [
        f"{key}: {found.get(key)} -> {wanted[key]}" for key in wanted if found.get(key) != wanted[key]
    ]
    if different:
        raise OutputError(
            f"{root} was rendered with other settings ({'; '.join(different)}); choose another --out"
        )
