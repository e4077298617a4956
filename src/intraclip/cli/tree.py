"""Every command with the dataclass of its flags, for completion and for tests."""

from __future__ import annotations

from importlib import import_module
from typing import Any

TREE: dict[str, str] = {
    "demo": "demo:DemoArgs",
    "data make": "data:MakeArgs",
    "data make-videos": "data:MakeVideosArgs",
    "data pack": "data:PackArgs",
    "data check": "data:CheckArgs",
    "train": "train:TrainArgs",
    "adapt": "adapt:AdaptArgs",
    "evaluate": "evaluate:EvaluateArgs",
    "score": "score:ScoreArgs",
    "cross": "cross:CrossArgs",
    "extract": "extract:ExtractArgs",
    "reproduce": "reproduce:ReproduceArgs",
    "export": "export:ExportArgs",
    "models list": "models:ListArgs",
    "models get": "models:GetArgs",
    "models check": "models:CheckArgs",
    "find": "find:FindArgs",
    "ingest": "ingest:IngestArgs",
    "gallery add": "gallery_add:AddArgs",
    "gallery search": "gallery_search:SearchArgs",
    "gallery show": "gallery:ShowArgs",
    "gallery list": "gallery:ListArgs",
    "gallery delete": "gallery:DeleteArgs",
    "gallery stats": "gallery:StatsArgs",
    "gallery check": "gallery:CheckArgs",
    "gallery calibrate": "gallery:CalibrateArgs",
    "gallery export-labels": "gallery:ExportLabelsArgs",
    "live": "live:LiveArgs",
    "alerts list": "alerts:ListArgs",
    "alerts watch": "alerts:WatchArgs",
    "alerts watched": "alerts:WatchedArgs",
    "alerts unwatch": "alerts:UnwatchArgs",
    "alerts confirm": "alerts:JudgeArgs",
    "alerts reject": "alerts:JudgeArgs",
    "serve": "serve:ServeArgs",
    "link": "link:LinkArgs",
    "rank": "rank:RankArgs",
    "report": "report:ReportArgs",
    "completion": "completion:CompletionArgs",
}
"""Command as it is typed -> file in this folder, and dataclass."""


def kind_of(command: str) -> type[Any]:
    """The dataclass of a command's flags."""
    module, name = TREE[command].split(":")
    kind: type[Any] = getattr(import_module(f"intraclip.cli.{module}"), name)
    return kind
