"""A service in a process of its own, as `intraclip serve` starts it; the model for uploads is that of the tests."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from intraclip.gallery.gallery import open_gallery
from intraclip.serve.app import create_app
from intraclip.serve.server import listen, run
from intraclip.serve.settings import DecodeLimits, ServeSettings
from serve.serve_world import TOKEN, ColourModel


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("gallery", type=Path)
    parser.add_argument("--token", action="store_true")
    parser.add_argument("--settings", type=json.loads, default={}, help="of ServeSettings, as JSON")
    parser.add_argument("--decode", type=json.loads, default={}, help="of DecodeLimits, as JSON")
    args = parser.parse_args()
    settings = ServeSettings(
        port=0,
        tokens=(TOKEN,) if args.token else (),
        decode=DecodeLimits(**args.decode),
        **{"max_upload_bytes": 2**20, **args.settings},
    )
    with open_gallery(args.gallery) as gallery, listen(settings) as listening:
        run(create_app(gallery, settings, embedder=ColourModel()), settings, listening)
    print("closed", file=sys.stderr)


if __name__ == "__main__":
    main()
