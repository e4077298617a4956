"""Templates -> self-contained HTML files."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

from intraclip import __version__
from intraclip.core.extras import require_extra
from intraclip.core.files import write_text

Shown = dict[str, Any]
"""What a template reads, by the names that it has there."""


def write_page(out: Path, template: str, *, package: str = "intraclip.report", **context: Any) -> Path:
    """Fill a template of a package and write the page; returns `out`."""
    jinja2 = require_extra("jinja2", extra="report", purpose="the page")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = (resources.files(package) / template).read_text(encoding="utf-8")
    write_text(out, environment.from_string(source).render(version=__version__, **context))
    return out
