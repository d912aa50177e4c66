"""A web server in a thread of the test."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from quantum_training_tests.support.processes import wait_for


@contextmanager
def running(server: uvicorn.Server) -> Iterator[None]:
    """The server answers in the block; afterwards it has stopped."""
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_for("web server", lambda: server.started, 60)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(30)
    assert not thread.is_alive(), "the server did not stop"
