"""`intraclip serve`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from intraclip.cli.common import parse, say
from intraclip.cli.gallery_words import Address, Model, open_model
from intraclip.errors import ConfigError, require_extra

if TYPE_CHECKING:
    from intraclip.serve.settings import ServeSettings
    from intraclip.serve.uploads import Embedder


@dataclass(frozen=True, kw_only=True)
class ServeArgs(Model):
    """Serve a gallery: a page in the browser, and an HTTP API under /api/v1.

    Only this machine can reach it, unless --host says otherwise; then a token is required. Searching for uploaded
    pictures needs the model that the gallery was made with: --run or --encoder. It stops on Ctrl-C or SIGTERM.
    """

    gallery: Address
    """Folder, or milvus+http://host:port/name."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for all of this machine's."""
    port: int = 8000
    """Port to listen on; 0 for any free one."""
    token_file: Path | None = None
    """File with a name and a secret on each line; whoever has one may come in. Required beyond loopback."""
    allow_host: tuple[str, ...] = ()
    """Further host names that the service is reached under, such as that of a proxy in front of it."""
    tls_cert: Path | None = None
    """Certificate (PEM) to speak HTTPS."""
    tls_key: Path | None = None
    """Key of the certificate (PEM)."""
    max_upload_mb: int = 64
    """Largest upload, all files of a search together, in MiB."""
    searches: int = 4
    """Searches that run at once; more wait."""


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    args = parse(ServeArgs, argv, command="serve")
    for module in ("fastapi", "uvicorn", "python_multipart", "prometheus_client", "jinja2"):
        require_extra(module, extra="serve", purpose="the service")
    from intraclip.gallery.gallery import open_gallery
    from intraclip.serve.app import create_app
    from intraclip.serve.server import run

    settings = _settings(args)
    with open_gallery(args.gallery) as gallery:
        app = create_app(gallery, settings, embedder=_embedder(args))
        _greet(args, settings, gallery.stats().tracklets)
        run(app, settings, tls_cert=args.tls_cert, tls_key=args.tls_key)
    say("stopped")
    return 0


def _settings(args: ServeArgs) -> ServeSettings:
    from intraclip.serve.settings import ServeSettings, read_tokens

    if (args.tls_cert is None) != (args.tls_key is None):
        raise ConfigError("--tls-cert and --tls-key belong together; name both")
    for path in (args.tls_cert, args.tls_key):
        if path is not None and not path.is_file():
            raise ConfigError(f"there is no file {path}")
    return ServeSettings(
        host=args.host,
        port=args.port,
        allow_hosts=frozenset(args.allow_host),
        tokens=() if args.token_file is None else read_tokens(args.token_file),
        tls=args.tls_cert is not None,
        max_upload_bytes=args.max_upload_mb * 2**20,
        searches=args.searches,
    )


def _embedder(args: ServeArgs) -> Embedder | None:
    if args.run is None and args.encoder is None:
        return None
    from intraclip.serve.model import ModelEmbedder

    extractor, _, clip = open_model(args)
    return ModelEmbedder(extractor, clip)


def _greet(args: ServeArgs, settings: ServeSettings, tracklets: int) -> None:
    scheme = "https" if settings.tls else "http"
    host = f"[{args.host}]" if ":" in args.host else args.host
    say(f"{tracklets:,} tracklets of {args.gallery} at {scheme}://{host}:{args.port}/")
    if args.run is None and args.encoder is None:
        say(
            "no model: tracklets of the gallery can be searched for, uploaded pictures cannot (--run or --encoder)"
        )
    if settings.tokens:
        say(f"a token is required; there are {len(settings.tokens)}")
    if not settings.loopback and not settings.tls:
        say(
            "note: tokens and pictures travel unencrypted; use --tls-cert and --tls-key, or a proxy that does"
        )
