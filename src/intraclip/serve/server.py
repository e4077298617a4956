"""Runs the service until it is told to stop."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import sys
import threading
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from intraclip.errors import ConfigError, OutputError
from intraclip.serve.context import Context
from intraclip.serve.settings import ServeSettings
from intraclip.serve.telemetry import LOGGER, log_json

MOST_CONNECTIONS = 500


CUT_S = 3
"""Seconds behind `ServeSettings.stop_s` after which the process ends whatever still runs in it, such as a network."""


class _Server(uvicorn.Server):
    """Says that it is not ready any more as soon as it is told to stop, and stops in time."""

    context: Context

    def handle_exit(self, sig: int, frame: object) -> None:
        if not self.context.stopping:
            self.context.stopping = True
            last = threading.Timer(self.context.settings.stop_s + CUT_S, _cut)
            last.daemon = True
            last.start()
        super().handle_exit(sig, frame)  # type: ignore[arg-type]


def _cut() -> None:
    """The gallery loses nothing that it has acknowledged, however its process ends."""
    LOGGER.warning("cut")
    os._exit(0)


def listen(settings: ServeSettings) -> socket.socket:
    """Take the address, before anything else is begun or printed.

    Raises:
        OutputError: it is taken, or not this machine's.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        raise OutputError(
            f"the service cannot listen on {settings.host}, port {settings.port}: {error.strerror or error}; choose "
            "another --port or --host"
        ) from None


def run(
    app: FastAPI,
    settings: ServeSettings,
    listening: socket.socket,
    *,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; running requests get `settings.stop_s` to finish, then they are cut.

    Raises:
        ConfigError: certificate or key cannot be used.
    """
    with listening:
        config = uvicorn.Config(
            app,
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
            raise ConfigError(
                f"--tls-cert {tls_cert} and --tls-key {tls_key} cannot be used: {error}"
            ) from None
        log_json(sys.stderr)
        server = _Server(config)
        server.context = app.state.context
        if server.context.embedder is not None:
            server.context.decoders.prepare()
        LOGGER.info(
            "listening", extra={"fields": {"host": settings.host, "port": listening.getsockname()[1]}}
        )
        # uvicorn raises the signal again once it has stopped; stopping was all that it asked for.
        kept = {s: signal.signal(s, lambda *_: None) for s in (signal.SIGTERM, signal.SIGINT)}
        try:
            server.run(sockets=[listening])
        finally:
            for number, handler in kept.items():
                signal.signal(number, handler)
