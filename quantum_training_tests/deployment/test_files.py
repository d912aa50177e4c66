"""What docker/ promises: pinned images, no login that works by default, only UIs published, every variable known."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dagster._cli import create_dagster_cli

from quantum_training.resources.alerts.delivery import SMTP_PASSWORD, WEBHOOK_URL
from quantum_training.service.security.keys import VARIABLE as SERVICE_KEYS
from quantum_training.settings import Settings

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
EXAMPLE = (DOCKER / ".env.example").read_text()
VARIABLES = dict(re.findall(r"^(?:# )?([A-Z][A-Z_]+)=(.*)$", EXAMPLE, re.M))
OPERATORS = {
    field.validation_alias.upper(): (name, field)
    for name, field in Settings.model_fields.items()
    if isinstance(field.validation_alias, str)
}


def test_the_image_is_pinned_and_its_user_is_not_root():
    lines = (DOCKER / "Dockerfile").read_text().splitlines()
    bases = [line.split()[1] for line in lines if line.startswith("FROM")]
    assert len(bases) == 2
    assert all(re.fullmatch(r"python:\d+\.\d+\.\d+-\S+", base) for base in bases)
    assert [line.split()[1] for line in lines if line.startswith("USER")] == ["10001"]
    installs = [command for line in lines for command in line.split("&&") if "pip install" in command]
    assert installs
    assert all("-c constraints.txt" in command for command in installs)


def test_hadolint_finds_nothing():
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, DOCKER / "Dockerfile"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


def test_only_the_uis_are_published_and_only_on_loopback():
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published.keys() == {"webserver", "mlflow", "service"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_heals_itself_within_its_memory(name):
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert service["mem_limit"]
    assert service["healthcheck"]["retries"]
    if "build" not in service and not service["image"].startswith("${IMAGE"):
        assert re.search(r":\d+\.\d+", service["image"]), f"{service['image']} is not pinned"
    else:
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
    for volume in service["volumes"]:
        source = volume["source"] if isinstance(volume, dict) else volume.split(":")[0]
        assert source in COMPOSE["volumes"] or source.startswith(("./", "${SETTINGS_FILE"))


def test_the_code_server_is_one_process_because_its_run_launcher_lists_its_runs():
    program, *command = SERVICES["code"]["command"].split()
    assert (program, *command[:2]) == ("dagster", "api", "grpc")
    grpc = create_dagster_cli().commands["api"].commands["grpc"]
    options = grpc.make_context("grpc", command[2:]).params
    (server,) = yaml.safe_load((DOCKER / "workspace.yaml").read_text())["load_from"]
    expected = {"port": server["grpc_server"]["port"], "location_name": server["grpc_server"]["location_name"]}
    assert {name: options[name] for name in expected} == expected
    assert (options["host"], options["module_name"]) == ("0.0.0.0", "quantum_training.definitions")
    assert str(options["port"]) in SERVICES["code"]["healthcheck"]["test"]


def compose_config(folder, environment):
    """What docker-compose's own reader makes of the file in `folder`."""
    program = shutil.which("docker-compose")
    if not program:
        pytest.skip("no docker-compose on the PATH: install it (apt-get install docker-compose)")
    return subprocess.run(
        [program, "-f", folder / "docker/compose.yaml", "--profile", "redis", "--profile", "service", "config"],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": "/usr/bin:/bin:/usr/local/bin", **environment},
    )


@pytest.fixture
def copied(tmp_path):
    """A copy of docker/ whose .env is the example as it stands."""
    shutil.copytree(DOCKER, tmp_path / "docker")
    shutil.copy(DOCKER / ".env.example", tmp_path / "docker/.env")
    return tmp_path


def test_docker_compose_takes_the_file(copied):
    done = compose_config(copied, {"POSTGRES_PASSWORD": "of this test"})
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(done.stdout)["services"].keys() == SERVICES.keys()


def test_without_a_password_nothing_starts_and_the_message_says_what_to_set(copied):
    done = compose_config(copied, {})
    assert done.returncode != 0
    assert "set POSTGRES_PASSWORD in docker/.env" in done.stderr


def test_redis_refuses_to_start_without_a_password():
    command = SERVICES["redis"]["command"].replace("$$", "$")
    done = subprocess.run(
        ["bash", "-c", command], env={"PATH": "/nowhere:/usr/bin:/bin"}, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "set REDIS_PASSWORD in docker/.env" in done.stderr


def test_every_operators_variable_is_documented_with_its_default():
    for variable, (name, field) in OPERATORS.items():
        assert variable in VARIABLES, f"docker/.env.example lacks {variable}: {field.description}"
        default = "" if field.default is None else str(field.default)
        documented = VARIABLES[variable]
        assert documented.lower() == default.lower(), f"{variable}: {documented!r}, settings.{name} has {default!r}"
        above = EXAMPLE[: EXAMPLE.index(f"# {variable}=")].splitlines()[-1]
        assert above.startswith("# "), f"{variable} is not explained"


def test_every_documented_variable_is_read():
    read_by_compose = set(re.findall(r"\$?\$\{([A-Z_]+)", (DOCKER / "compose.yaml").read_text()))
    for variable in VARIABLES:
        others = {"COMPOSE_PROJECT_NAME", WEBHOOK_URL, SMTP_PASSWORD, SERVICE_KEYS}
        assert variable in OPERATORS or variable in read_by_compose | others, variable


def test_every_operators_setting_is_used_by_the_package():
    code = "".join(file.read_text() for file in (ROOT / "quantum_training").rglob("*.py") if file.name != "settings.py")
    for variable, (name, _) in OPERATORS.items():
        assert re.search(rf"settings\.{name}\b", code), f"{variable} is read, but changes nothing"


def test_the_secrets_stay_out_of_git():
    completed = subprocess.run(
        ["git", "check-ignore", "docker/.env"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if "not a git repository" in completed.stderr:
        pytest.skip("this copy is no git repository")
    assert completed.stdout.strip() == "docker/.env"


def test_a_run_on_ray_gets_every_shared_address():
    page = (DOCKER.parent / "docs/production/scale_out.md").read_text()
    (launcher,) = [yaml.safe_load(b) for b in re.findall(r"```yaml\n(.*?)```", page, re.S) if "run_launcher" in b]
    helm = yaml.safe_load((DOCKER / "helm-values.yaml").read_text())
    assert launcher["instance_class"] == helm["additionalInstanceConfig"]["instance_class"]
    options = launcher["run_launcher"]["config"]["ray"]["env_vars"]
    assert {*re.findall(r"\| `(QUANTUM_TRAINING_\w+)` \|", page)} <= {*options}
