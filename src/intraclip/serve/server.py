"""Runs the service until it is told to stop."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from intraclip.errors import ConfigError, OutputError
from intraclip.serve.context import Context
from intraclip.serve.settings import ServeSettings
from intraclip.serve.telemetry import LOGGER, log_json

MOST_CONNECTIONS = 500


class _Server(uvicorn.Server):
    """Says that it is not ready any more as soon as it is told to stop."""

    context: Context

    def handle_exit(self, sig: int, frame: object) -> None:
        self.context.stopping = True
        super().handle_exit(sig, frame)  # type: ignore[arg-type]


def run(
    app: FastAPI, settings: ServeSettings, *, tls_cert: Path | None = None, tls_key: Path | None = None
) -> None:
    """Serve until SIGTERM or SIGINT; running requests are finished first, for at most `settings.stop_s`.

    Args:
        app: of `create_app`.
        settings: the app's.
        tls_cert: certificate chain for HTTPS, PEM.
        tls_key: its key.

    Raises:
        ConfigError: certificate or key cannot be used.
        OutputError: the address is taken, or not this machine's.
    """
    # Should anything but a known container reach FFmpeg, it opens no other file and no address.
    os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "protocol_whitelist;file")
    log_json(sys.stderr)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # whoever sends X-Forwarded-For decides nothing here
        ws="none",
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=20,
        timeout_graceful_shutdown=settings.stop_s,
        ssl_certfile=tls_cert,
        ssl_keyfile=tls_key,
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"--tls-cert {tls_cert} and --tls-key {tls_key} cannot be used: {error}") from None
    server = _Server(config)
    server.context = app.state.context
    listening = _listen(settings)
    LOGGER.info("listening", extra={"fields": {"host": settings.host, "port": listening.getsockname()[1]}})
    # uvicorn raises the signal again once it has stopped; stopping was all that it asked for.
    kept = {s: signal.signal(s, lambda *_: None) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        server.run(sockets=[listening])
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
        listening.close()


def _listen(settings: ServeSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        raise OutputError(
            f"the service cannot listen on {settings.host}, port {settings.port}: {error.strerror or error}; choose "
            "another --port or --host"
        ) from None
