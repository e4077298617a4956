"""Video -> detections -> tracks -> tracklets.

`IngestConfig` is light; `ingest` loads OpenCV when it is first asked for, the detector and the tracker when it runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from intraclip.core.callable_package import make_callable
from intraclip.ingest.config import IngestConfig as IngestConfig

if TYPE_CHECKING:
    from intraclip.ingest.pipeline import ingest as ingest
    from intraclip.ingest.summary import IngestSummary as IngestSummary
    from intraclip.ingest.summary import VideoSummary as VideoSummary

__all__ = ["IngestConfig", "IngestSummary", "VideoSummary", "ingest"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from intraclip.ingest import pipeline

        return getattr(pipeline, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


make_callable(__name__, module="pipeline", function="ingest")
