"""`intraclip serve`."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from intraclip.cli.gallery_flags import InGallery, Model, open_model
from intraclip.core.extras import require_extra
from intraclip.errors import ConfigError
from intraclip.serve.settings import ServeSettings
from intraclip.serve.tokens import read_tokens

if TYPE_CHECKING:
    from intraclip.embed.network import Network
    from intraclip.gallery.gallery import Gallery


@dataclass(frozen=True, kw_only=True)
class Listening:
    """Where a page is served, and to whom."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for all of this machine's. Beyond this machine a token is required."""
    port: int = 8000
    """Port of the page; 0 for any free one."""
    token_file: Path | None = None
    """File with a name and a secret on each line, and perhaps `read-only`; whoever has one may come in. Required beyond
    loopback, and read again when it changes."""

    def serve_settings(self, **more: Any) -> ServeSettings:
        """What the service allows."""
        tokens = () if self.token_file is None else read_tokens(self.token_file)
        return ServeSettings(
            host=self.host, port=self.port, tokens=tokens, token_file=self.token_file, **more
        )


@dataclass(frozen=True, kw_only=True)
class ServeArgs(InGallery, Model, Listening):
    """Serve a gallery: a page in the browser, and an HTTP API under /api/v1.

    Only this machine can reach it, unless --host says otherwise; then a token is required. Searching for uploaded
    pictures needs the model that the gallery was made with: it is found where it has a name here (`base`, or one of
    `intraclip models list`), and named with --model where it has not. It stops on Ctrl-C or SIGTERM.
    """

    allow_host: tuple[str, ...] = ()
    """Further host names that the service is reached under, such as that of a proxy in front of it."""
    proxy: bool = False
    """A proxy in front adds to X-Forwarded-For whom it asks for; the log and the limit on wrong tokens go by that."""
    tls_cert: Path | None = None
    """Certificate (PEM) to speak HTTPS."""
    tls_key: Path | None = None
    """Key of the certificate (PEM)."""
    max_upload_mb: int = 64
    """Largest upload, all files of a search together, in MiB."""
    searches: int = 4
    """Searches that run at once; more wait."""
    stop_s: int = 10
    """Seconds that running requests get when it is told to stop; then they are cut."""


def main(args: ServeArgs) -> int:
    """Run the command."""
    for module in ("fastapi", "uvicorn", "python_multipart", "prometheus_client", "jinja2"):
        require_extra(module, extra="serve", purpose="the service")
    from intraclip.serve.app import create_app
    from intraclip.serve.server import listen, run

    settings = _settings(args)
    with listen(settings) as listening, args.opened() as gallery:
        # Cookies are kept by host and not by port: the service must know its own.
        settings = replace(settings, port=listening.getsockname()[1])
        embedder = _embedder(args, gallery)
        app = create_app(gallery, settings, embedder=embedder)
        greet(args.gallery, settings, gallery.stats().tracklets, embeds=embedder is not None)
        run(app, settings, listening, tls_cert=args.tls_cert, tls_key=args.tls_key)
    return 0


def _settings(args: ServeArgs) -> ServeSettings:
    if (args.tls_cert is None) != (args.tls_key is None):
        raise ConfigError("--tls-cert and --tls-key belong together; name both")
    for path in (args.tls_cert, args.tls_key):
        if path is not None and not path.is_file():
            raise ConfigError(f"there is no file {path}")
    return args.serve_settings(
        allow_hosts=frozenset(args.allow_host),
        proxy=args.proxy,
        tls=args.tls_cert is not None,
        max_upload_bytes=args.max_upload_mb * 2**20,
        searches=args.searches,
        stop_s=args.stop_s,
    )


def _embedder(args: ServeArgs, gallery: Gallery) -> Network | None:
    """The model of the flags, else the one that made the gallery; None where that is not here by name."""
    try:
        return open_model(args, gallery)
    except ConfigError:
        if args.model is not None:
            raise
        return None


def greet(
    address: str, settings: ServeSettings, tracklets: int, *, embeds: bool = True, view: str = ""
) -> None:
    """On standard output: standard error carries one JSON object a line."""
    scheme = "https" if settings.tls else "http"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    print(f"{tracklets:,} tracklets of {address} at {scheme}://{host}:{settings.port}/{view}")
    if not embeds:
        print("no model: tracklets of the gallery can be searched for, uploaded pictures cannot (--model)")
    if settings.tokens:
        print(f"a token is required; there are {len(settings.tokens)}")
    if not settings.loopback and not settings.tls:
        print(
            "note: tokens and pictures travel unencrypted; use --tls-cert and --tls-key, or a proxy that does"
        )
    sys.stdout.flush()
