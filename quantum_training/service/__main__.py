"""`python -m quantum_training.service`: serve the API. It stops on SIGTERM after the requests that it has begun."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import uvicorn

from quantum_training.service.app import build_app
from quantum_training.service.security.connections import CONNECTIONS, BoundedConnection
from quantum_training.service.security.keys import read_keys
from quantum_training.service.streaming.server import Server
from quantum_training.settings import load_settings
from quantum_training.settings.paths import SettingsError

LOOPBACK = ("127.0.0.1", "::1", "localhost")
IDLE_SECONDS, STOP_SECONDS = 15, 30


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until it is stopped. The exit status is 2 if the settings are wrong or the address needs keys."""
    parser = argparse.ArgumentParser(prog="python -m quantum_training.service", description=__doc__)
    parser.add_argument("--host", help="address to listen on; default: service.host of the settings")
    parser.add_argument("--port", type=int, help="port to listen on; default: service.port of the settings")
    options = parser.parse_args(arguments)
    try:
        settings = load_settings()
        host = options.host or settings.service.host
        if not read_keys():
            require_loopback(host)
        app = build_app(settings)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    config = uvicorn.Config(
        app,
        host=host,
        port=options.port or settings.service.port,
        http=BoundedConnection,
        ws="none",
        log_level=settings.log_level.lower(),
        proxy_headers=False,  # whoever reaches the port could name any address
        access_log=False,
        server_header=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
        limit_concurrency=CONNECTIONS,
    )
    Server(config, app.state.feed).run()
    return 0


def require_loopback(host: str) -> None:
    """SettingsError unless only this machine reaches the address."""
    if host not in LOOPBACK:
        raise SettingsError(
            f"service.host {host}: without keys the service listens on {', '.join(LOOPBACK)} only; make keys first "
            "(python -m quantum_training.service.new_key), or listen on 127.0.0.1"
        )


if __name__ == "__main__":
    sys.exit(main())
