"""The commands and examples of the README and of docs/, run as they stand, in a copy of the repository's files.

Pages of docs/production are tested in deployment/ and with the subject that they describe, use_a_version_elsewhere.md
in resources/registry/test_elsewhere.py.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack, suppress
from html import unescape
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest
import yaml

from quantum_training import check_settings
from quantum_training.features.indicators import FEATURES
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.settings_check import fit_small
from quantum_training.settings import load_settings
from quantum_training_tests.benchmarks import edge_life
from quantum_training_tests.support.processes import free_port, healthy, program, start, wait_for

ROOT = Path(__file__).parents[1]
PAGES = [
    "README.md",
    "docs/settings.md",
    *(
        f"docs/tasks/{name}.md"
        for name in (
            "add_a_source",
            "add_a_recipe",
            "add_features",
            "train_an_agent",
            "run_it",
            "retrain_within_the_week",
            "read_a_decision",
            "act_by_hand",
            "search",
            "use_a_version_elsewhere",
        )
    ),
]
"""The pages whose blocks are run, in the order in which a reader would."""


def blocks(page: str, kind: str) -> list[str]:
    """The fenced blocks of this kind on a page."""
    return re.findall(rf"```{kind}\n(.*?)```", (ROOT / page).read_text(), re.S)


def commands(*pages: str) -> list[str]:
    """The lines of all shell blocks of the pages."""
    return [line for page in pages for block in blocks(page, "sh") for line in block.strip().splitlines()]


BIN = Path(sys.executable).parent
MAKE = ["make", f"VENV={sys.prefix}"]


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the files that the commands name and the environment a README reader would have in it.

    The environment that runs this test stands for the `.venv` that `make` would make and fill.
    """
    for stamp in ("run", "dev"):
        Path(sys.prefix, stamp).touch()
    folder = tmp_path_factory.mktemp("readme") / "quantum_training"
    for name in (
        "Makefile",
        "README.md",
        "workspace.yaml",
        "pyproject.toml",
        "constraints.txt",
        "dagster_home/dagster.yaml",
        "dagster_home/demo.yaml",
        "dagster_home/demo_settings.yaml",
        "dagster_home/benchmark.yaml",
        "dagster_home/promote.yaml",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    environment = {k: v for k, v in os.environ.items() if k not in ("DAGSTER_HOME", "QUANTUM_TRAINING_CONFIG")}
    return folder, {**environment, "PATH": f"{BIN}:{os.environ['PATH']}"}


def run(command, copy, **options):
    folder, environment = copy
    process = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900, **options
    )
    assert process.returncode == 0, f"{command}\n{process.stdout[-3000:]}\n{process.stderr[-3000:]}"
    return process.stdout + process.stderr


@pytest.fixture(scope="module")
def demo(copy):
    """The state that the README's `make demo` leaves, and its output."""
    assert commands("README.md")[:2] == ["make demo", "make ui"]
    return copy[0], run([*MAKE, "demo"], copy)


def test_this_module_runs_every_page_of_tasks_and_every_command_on_it():
    assert {f"docs/tasks/{page.name}" for page in (ROOT / "docs/tasks").glob("*.md")} <= {*PAGES}
    programs = [command.split()[0] for command in commands(*PAGES)]
    elsewhere = ["python3", *(f"trader/bin/{name}" for name in ("pip", "python", "pip", "mlflow", "mlflow"))]
    assert programs == ["make", "make", "export", "export", *["dagster"] * 5, "export", *elsewhere]


@pytest.mark.parametrize("page", [str(f.relative_to(ROOT)) for f in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"))])
def test_links_files_modules_and_make_targets_of_a_page_exist(page):
    text = (ROOT / page).read_text()
    links = re.findall(r"\]\((?!https?://)([^)#]+)[^)]*\)", text)
    missing = [link for link in links if not (ROOT / page).parent.joinpath(link).exists()]
    files = re.findall(r"quantum_training(?:_tests)?/[\w/]+\.\w+", text)
    missing += [file for file in files if not (ROOT / file).exists()]
    modules = re.findall(r"^from (quantum_training[\w.]*) import", text, re.M)
    missing += [module for module in modules if not find_spec(module)]
    makefile = (ROOT / "Makefile").read_text()
    missing += [t for t in re.findall(r"`make ([\w-]+)`", text) if not re.search(rf"^{t}:", makefile, re.M)]
    assert missing == []


def test_a_commit_runs_what_make_lint_runs():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    (repository,) = config["repos"]
    assert repository["repo"] == "local"
    assert [hook["entry"] for hook in repository["hooks"]] == ["make lint"]


@pytest.mark.long
def test_the_demo_ends_with_a_champion_table_and_the_ways_into_the_uis(demo):
    _, output = demo
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in output.splitlines() if line.startswith("| ")]
    strategies = {row[0]: [r[2] for r in rows if r[0] == row[0]] for row in rows[1:]}
    indices = ["xgboost", "lightgbm", "Buy & Hold"]
    assert strategies == {"SP500": indices, "NASDAQ": indices, "SYNTHETIC": ["xgboost_hourly", "Buy & Hold"]}
    assert {row[1] for row in rows[1:]} == {"2018-12-31"}
    assert {row[4] for row in rows if row[0] in ("SP500", "NASDAQ")} == {"125"}
    assert re.findall(r"^SP500 +xgboost_model +(\S+) in \d+ s$", output, re.M) == ["29/29", "1/1"]
    assert "SP500: No champion: no recipe has earned it." in output
    assert "The campaign before found nothing in 26 weeks." in output
    assert "Its true edge: Sharpe" in output
    assert "/assets/week_report" in output
    assert "/#/models" in output


@pytest.mark.long
def test_the_demo_prints_no_log_and_no_warnings(demo):
    _, output = demo
    assert not re.search(r" - (DEBUG|INFO|ERROR) - |Warning", output)
    assert len(output.splitlines()) < 100


@pytest.mark.long
def test_the_demo_covers_at_least_26_weeks_of_each_symbol(demo):
    folder, _ = demo
    for symbol in ("SP500", "NASDAQ"):
        assert len(list((folder / "dagster_home/store/champion" / symbol).glob("*.json"))) == 30


@pytest.mark.long
def test_the_demo_shows_the_life_of_a_model_on_the_market_with_a_known_edge(demo):
    """Promoted on evidence, 1, 5 and 10 % of capital, and rolled back after the edge has ended."""
    store = demo[0] / "dagster_home/store"
    decisions, rollout = (
        {file.stem: json.loads(file.read_text()) for file in sorted((store / asset / "SYNTHETIC").glob("*.json"))}
        for asset in ("champion", "rollout")
    )
    changes = [(week, d["verdict"]) for week, d in decisions.items() if d["decided"] != d["former"]]
    (promoted, first), (rolled_back, second) = changes
    assert (first, second) == ("PROMOTE", "ROLLBACK")
    end = yaml.safe_load((ROOT / "dagster_home/demo_settings.yaml").read_text())["symbols"]["SYNTHETIC"]["source"]
    assert promoted < str(end["edge_until"]) < rolled_back
    shares = [rollout[week]["share"] for week in rollout if promoted <= week <= rolled_back]
    assert list(dict.fromkeys(shares)) == [0.0, 0.01, 0.05, 0.1]
    assert shares[-1] == 0.0
    assert len(decisions) == 30


@pytest.mark.long
def test_the_benchmark_of_the_known_edge_scores_what_the_demo_stores(demo, monkeypatch):
    for name in ("QUANTUM_TRAINING_CONFIG", "DAGSTER_HOME"):
        monkeypatch.setenv(name, "set by demo_settings")
    world = edge_life.world_of(edge_life.demo_settings(), seed=7, edge=True)
    scores, _ = edge_life.shadow_scores(world._replace(weeks=world.weeks[:6]))
    for week, frame in scores.items():
        stored = pd.read_parquet(demo[0] / f"dagster_home/store/shadow_scores/SYNTHETIC/{week}.parquet")
        columns = ["strategy", "target", "net_return"]
        pd.testing.assert_frame_equal(stored[columns], frame[columns], check_exact=True, check_dtype=False)


def test_the_settings_of_the_demo_are_the_default_ones_and_the_market_with_a_known_edge():
    demo, default = (
        yaml.safe_load((ROOT / path).read_text())
        for path in ("dagster_home/demo_settings.yaml", "quantum_training/default.yaml")
    )
    (recipe,) = demo["symbols"].pop("SYNTHETIC")["recipes"]
    assert demo["recipes"].pop(recipe)
    assert demo.pop("rollout") == {"without_drift_report": "step"}
    assert demo == default


@pytest.mark.long
def test_the_shell_commands_run_in_order_and_change_nothing_that_the_demo_stored(demo, copy):
    """The CI line is the demo's own command; its file is edited, as a reader would, to name one symbol and 3 weeks.

    Dagster's command line runs all of them in one process: five would import for longer than they work, and the demo is
    a process of its own.
    """
    folder, _ = demo
    config = yaml.safe_load((folder / "dagster_home/demo.yaml").read_text())
    config["ops"]["run_cycle"]["config"] |= {"symbols": ["NASDAQ"], "weeks": 3}
    (folder / "dagster_home/demo.yaml").write_text(yaml.safe_dump(config))
    home, *lines = [c for c in commands(*PAGES) if c.startswith(("export DAGSTER_HOME=", "dagster "))]
    python = shlex.join([sys.executable, "-W", "ignore", "-c", SHELL, *lines])
    environment = {**copy[1], "QUANTUM_TRAINING_CONFIG": str(folder / "dagster_home/demo_settings.yaml")}
    output = run(["bash", "-euo", "pipefail", "-c", f"{home}\n{python}"], (folder, environment))
    *states, promoted = [line for line in output.splitlines() if line.startswith("left: ")]
    assert len(states) == len(lines)
    assert len({*states}) == 1, "a command that trains nothing new has changed the store or MLflow"
    assert "'champion'" not in states[0], "the README says that no recipe becomes champion"
    assert "'champion'" in promoted


SHELL = """
import hashlib, shlex, sys
from pathlib import Path
from dagster._cli import ENV_PREFIX, cli
from mlflow import MlflowClient


def print_state():
    store = hashlib.sha256()
    for file in sorted(f for f in Path("dagster_home/store").rglob("*") if f.is_file()):
        store.update(str(file).encode() + file.read_bytes())
    client, models = MlflowClient("sqlite:///dagster_home/mlflow/mlflow.db"), []
    for model in client.search_registered_models():
        versions = client.search_model_versions(f"name = '{model.name}'")
        ids = [(v.version, v.tags["model_id"]) for v in versions]
        models.append((model.name, sorted(model.aliases.items()), ids))
    print("\\nleft:", store.hexdigest(), models, flush=True)


print_state()
for line in sys.argv[1:]:
    program, *arguments = shlex.split(line)
    assert program == "dagster", line
    cli.main(arguments, standalone_mode=False, auto_envvar_prefix=ENV_PREFIX)
    print_state()
"""


@pytest.mark.long
def test_the_pages_of_dagster_show_what_the_store_holds(demo, tmp_path):
    """In a real browser: the newest week is the latest, its findings stand in the page, and no check is left open."""
    browser = os.environ.get("QT_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not browser:
        pytest.skip("no chromium on this machine")
    folder, _ = demo
    settings = yaml.safe_load((folder / "dagster_home/demo_settings.yaml").read_text())
    port, last = free_port(), [*settings["symbols"]][-1]
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(folder / "dagster_home"),
        "QUANTUM_TRAINING_CONFIG": str(folder / "dagster_home/demo_settings.yaml"),
    }
    command = [program("dagster-webserver"), "-m", "quantum_training.definitions", "-h", "127.0.0.1", "-p", str(port)]
    flags = "--headless --no-sandbox --disable-gpu --no-first-run --virtual-time-budget=60000"
    store = folder / "dagster_home/store"
    weeks = {file.stem: file for file in (store / f"champion/{last}").glob("*.json")}

    def page(path):
        arguments = [browser, *flags.split(), f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
        url = f"http://127.0.0.1:{port}/assets/{path}"
        return unescape(subprocess.run([*arguments, url], capture_output=True, text=True, timeout=180).stdout)

    with ExitStack() as stack:
        start(stack, command, tmp_path / "webserver.log", environment, folder)
        wait_for("webserver", lambda: healthy(f"http://127.0.0.1:{port}/server_info"), 90)
        newest = f"{last}%7C{max(weeks)}"
        latest, checks = page("champion"), page("candles?view=checks")
        champion, backtest = (page(f"{asset}?view=partitions&partition={newest}") for asset in ("champion", "backtest"))
    decision = json.loads(weeks[max(weeks)].read_text())
    assert re.search(rf"\w\|{max(weeks)}", latest), "the newest week is the latest"
    assert f"{last}|{max(weeks)}" in champion
    assert decision["evidence_hash"] in champion
    assert all(judgement["reason"] in champion for judgement in decision["judgements"].values())
    record = json.loads((store / f"backtest/{last}/{max(weeks)}.json").read_text())
    assert record["verdict"]["text"] in backtest
    assert backtest.count('src="data:image/svg+xml,') >= 2
    assert "quality" in checks
    assert "Succeeded" in checks
    assert "Skipped" not in checks


@pytest.mark.long
def test_make_ui_opens_all_three(demo, copy):
    folder, environment = copy
    ports = {name: free_port() for name in ("DAGSTER_PORT", "MLFLOW_PORT", "SERVICE_PORT")}
    command = [*MAKE, "ui", *(f"{name}={port}" for name, port in ports.items())]
    with (folder / "ui.log").open("w") as log:
        ui = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        for port, path in zip(ports.values(), ("/server_info", "/health", "/symbols/SYNTHETIC"), strict=True):
            wait_for(path, lambda url=f"http://127.0.0.1:{port}{path}": healthy(url), 90, (folder / "ui.log").read_text)
        assert ui.poll() is None, (folder / "ui.log").read_text()[-3000:]
    finally:
        os.killpg(ui.pid, signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            ui.wait(20)
        with suppress(ProcessLookupError):
            os.killpg(ui.pid, signal.SIGKILL)  # also what make has left behind


@pytest.mark.long
def test_the_example_without_dagster_trains_and_scores_a_week(copy, tmp_path):
    code = blocks("README.md", "python")[-1]
    folder, environment = copy
    environment = {**environment, "DAGSTER_HOME": str(tmp_path)}
    output = run([sys.executable, "-W", "ignore", "-c", code], (folder, environment))
    assert "xgboost trained\nlightgbm trained\n" in output
    assert {"xgboost", "lightgbm", "buy_and_hold"} <= set(re.findall(r"^(\w+) +-?\d", output, re.M))


def test_the_settings_examples_load(tmp_path, monkeypatch):
    settings = yaml.safe_load((ROOT / "quantum_training/default.yaml").read_text())
    for block in (block for page in PAGES for block in blocks(page, "yaml")):
        for section, entries in yaml.safe_load(block).items():
            section_settings = settings.setdefault(section, {})
            for name, entry in entries.items():  # an example may show some fields of a symbol that another page defines
                former = section_settings.get(name)
                section_settings[name] = {**former, **entry} if isinstance(former, dict) else entry
    (tmp_path / "my_settings.yaml").write_text(yaml.safe_dump(settings))
    (tmp_path / "members.csv").write_text(*blocks("docs/tasks/add_features.md", "csv"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QUANTUM_TRAINING_CONFIG", str(tmp_path / "my_settings.yaml"))
    loaded = load_settings()
    assert {"BTC-USDT", "AAPL", "SP500"} <= set(loaded.symbols)
    assert loaded.symbols["BTC-USDT"].source.market == "BTC/USDT"
    assert loaded.recipes["logistic"].algorithm == "my_models.logistic"


@pytest.mark.usefixtures("skill_not_measured")
def test_the_feature_example_becomes_columns_of_a_version(build_project, small, tmp_path, monkeypatch):
    code = blocks("README.md", "python")[0]
    assert len(code.strip().splitlines()) <= 15
    (tmp_path / "my_features").mkdir()
    (tmp_path / "my_features/momentum.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    (example,) = [yaml.safe_load(block) for block in blocks("README.md", "yaml") if "features:" in block]
    small["features"] = example["features"]
    small["recipes"]["own"] = {**example["recipes"]["own"], "window_bars": 150}
    small["symbols"]["AAA"]["recipes"] = ["own"]
    project = build_project(small)
    market_data = project.run("market_data", "AAA|2019-09-01", "AAA|2020-02-01")
    assert market_data.success
    causal = [check for check in market_data.get_asset_check_evaluations() if check.check_name == "causal"]
    assert [check.passed for check in causal] == [True, True]
    assert project.run("weekly_cycle", "AAA|2020-01-06", "AAA|2020-01-13").success
    (version, *_) = project.registry.client().search_model_versions("name = 'AAA'")
    params = project.registry.client().get_run(version.run_id).data.params
    own = [f"momentum__move_bars_{bars}{timeframe}" for bars in (14, 50) for timeframe in ("", "_1d")]
    assert params["features"].split(",") == [*FEATURES, *own]
    scores = project.store.read_frame("shadow_scores", "AAA", "2020-01-13")
    assert scores.loc[scores["strategy"] == "own", "target"].notna().all()


@pytest.mark.usefixtures("skill_not_measured")
def test_the_universe_example_ranks_two_indices(build_project, tmp_path, monkeypatch, capsys):
    (tmp_path / "my_features").mkdir()
    (tmp_path / "my_features/momentum.py").write_text(blocks("README.md", "python")[0])
    (tmp_path / "members.csv").write_text(*blocks("docs/tasks/add_features.md", "csv"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    examples = [yaml.safe_load(block) for block in blocks("docs/tasks/add_features.md", "yaml")]
    (example,) = [example for example in examples if "universes" in example]
    settings = yaml.safe_load((ROOT / "quantum_training/default.yaml").read_text()) | {"start": "2017-01-01"}
    example["recipes"]["relative"] |= {"window_bars": 150, "params": {"max_rounds": 20, "num_leaves": 5}}
    for symbol in settings["symbols"].values():
        symbol["recipes"] = ["relative"]
    project = build_project({**settings, **example})
    for symbol in ("SP500", "NASDAQ"):
        assert project.run("market_data", f"{symbol}|2017-01-01", f"{symbol}|2018-12-01").success
    assert project.run("weekly_cycle", "SP500|2018-12-17", "SP500|2018-12-24").success
    history = MarketHistory(project.store, project.settings, "SP500")
    ranks = history.features("2018-01-01", pd.Timestamp("2018-12-31", tz="UTC"))["strength__move_rank"]
    assert {*ranks[:"2018-12-19"]} == {0.0, 1.0}
    assert ranks["2018-12-20":].isna().all(), "one is left"
    assert check_settings.main([]) == 0
    assert "universes.indices: 2 symbols, of which 0 are members now, fewer than" in capsys.readouterr().out


@pytest.mark.usefixtures("skill_not_measured")
def test_the_metric_example_is_in_the_backtest_and_in_mlflow(build_project, small, tmp_path, monkeypatch):
    (code, _), (settings, _) = (blocks("docs/returns.md", kind) for kind in ("python", "yaml"))
    (tmp_path / "my_metrics.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    project = build_project({**small, **yaml.safe_load(settings)}).market_data()
    assert project.run("weekly_cycle", "AAA|2020-01-06", "AAA|2020-01-20").success
    measured = project.store.read_record("backtest", "AAA", "2020-01-20")["metrics"]
    assert measured["buy_and_hold"]["tail_ratio"] > 0
    assert measured["flat"]["tail_ratio"] is None
    assert measured["flat"]["reasons"]["tail_ratio"] == "undefined"
    assert "tail ratio" in project.store.read_text("backtest", "AAA", "2020-01-20", "html")
    client = project.registry.client()
    runs = client.search_runs([client.get_experiment_by_name("AAA").experiment_id], "tags.record_of = 'xgboost'")
    assert runs[0].data.metrics["shadow/tail_ratio"] == measured["xgboost"]["tail_ratio"]


@pytest.mark.usefixtures("skill_not_measured")
def test_the_label_example_is_what_a_version_learns(build_project, small, tmp_path, monkeypatch):
    (_, code), (_, settings) = (blocks("docs/returns.md", kind) for kind in ("python", "yaml"))
    (tmp_path / "my_labels.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    small["recipes"]["careful"] = {**yaml.safe_load(settings)["recipes"]["careful"], "window_bars": 150}
    small["symbols"]["AAA"]["recipes"] = ["careful"]
    project = build_project(small).market_data()
    fit_small(project.settings.recipes["careful"], "4h")
    assert project.run("weekly_cycle", "AAA|2020-01-06", "AAA|2020-01-13").success
    (version, *_) = project.registry.client().search_model_versions("name = 'AAA'")
    label = json.loads(project.registry.client().get_run(version.run_id).data.params["label"])
    assert (label["module"], label["params"]) == ("my_labels", {"drawdown": 0.03})
    scores = project.store.read_frame("shadow_scores", "AAA", "2020-01-13")
    assert scores.loc[scores["strategy"] == "careful", "target"].notna().all()


@pytest.mark.usefixtures("skill_not_measured")
def test_the_reward_example_is_what_an_agent_learns_from(build_project, small, tmp_path, monkeypatch):
    (code,) = blocks("docs/tasks/train_an_agent.md", "python")
    examples = [yaml.safe_load(block)["recipes"] for block in blocks("docs/tasks/train_an_agent.md", "yaml")]
    (entry,) = [recipes["careful_ppo"] for recipes in examples if "careful_ppo" in recipes]
    (tmp_path / "my_rewards.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    few = {"total_steps": 1500, "environments": 16, "rollout_bars": 16, "batch_size": 64, "network": [8]}
    small["recipes"]["careful_ppo"] = {**entry, "window_bars": 150, "params": {**entry["params"], **few}}
    small["symbols"]["AAA"]["recipes"] = ["careful_ppo"]
    project = build_project(small).market_data()
    fit_small(project.settings.recipes["careful_ppo"], "4h")
    assert project.run("weekly_cycle", "AAA|2020-01-06", "AAA|2020-01-13").success
    (version, *_) = project.registry.client().search_model_versions("name = 'AAA'")
    reward = project.registry.load("AAA", version.tags["model_id"]).options.trading.reward
    assert reward.model_dump() == entry["params"]["trading"]["reward"]
    scores = project.store.read_frame("shadow_scores", "AAA", "2020-01-13")
    assert scores.loc[scores["strategy"] == "careful_ppo", "target"].notna().all()


@pytest.mark.long
def test_the_recipe_example_becomes_an_asset_with_versions_and_scores(build_project, small, tmp_path, monkeypatch):
    (code,) = blocks("docs/tasks/add_a_recipe.md", "python")
    assert len(code.strip().splitlines()) < 40
    (tmp_path / "my_models").mkdir()
    (tmp_path / "my_models/logistic.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    examples = [yaml.safe_load(block)["recipes"] for block in blocks("docs/tasks/add_a_recipe.md", "yaml")]
    (entry,) = [recipes for recipes in examples if "logistic" in recipes]
    small["recipes"]["logistic"] = {**entry["logistic"], "window_bars": 150}
    small["symbols"]["AAA"]["recipes"] = ["logistic", "xgboost"]
    project = build_project(small).market_data()
    result = project.run("weekly_cycle", "AAA|2020-01-06", "AAA|2020-01-13")
    assert result.success
    scores = project.store.read_frame("shadow_scores", "AAA", "2020-01-13")
    assert scores.loc[scores["strategy"] == "logistic", "target"].notna().all()
    assert "shadow-logistic" in project.registry.aliases.of("AAA")
    checks = {e.check_name: e for e in result.get_asset_check_evaluations() if e.asset_key.path == ["logistic_model"]}
    assert checks["leak_free"].passed
    assert checks["leak_free"].metadata["ic_planted"].value > 0.1
    assert "refresh_accepted" in checks
    assert "logistic" in project.store.read_record("backtest", "AAA", "2020-01-13")["metrics"]
