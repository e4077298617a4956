"""A service in a process of its own, as `intraclip serve` starts it; the model for uploads is that of the tests."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from intraclip.gallery.gallery import open_gallery
from intraclip.serve.app import create_app
from intraclip.serve.server import run
from intraclip.serve.settings import ServeSettings
from serve.serve_world import TOKEN, ColourModel


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("gallery", type=Path)
    parser.add_argument("--token", action="store_true")
    args = parser.parse_args()
    settings = ServeSettings(port=0, tokens=(TOKEN,) if args.token else (), max_upload_bytes=2**20)
    with open_gallery(args.gallery) as gallery:
        run(create_app(gallery, settings, embedder=ColourModel()), settings)
    print("closed", file=sys.stderr)


if __name__ == "__main__":
    main()
