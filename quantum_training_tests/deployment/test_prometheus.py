"""The rules for Prometheus and the dashboard for Grafana: promtool accepts them, they fire when they should, and every
metric that they name is one that the service answers."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from quantum_training.service import metrics as service_metrics

DOCKER = Path(__file__).parents[2] / "docker"
RULES = DOCKER / "prometheus/rules.yaml"
BOARD = DOCKER / "grafana/dashboard.json"
DAY = 1_440


def promtool(*arguments, folder):
    program = shutil.which("promtool")
    if not program:
        pytest.skip("no promtool on this machine")
    done = subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def expressions():
    rules = [rule["expr"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    panels = [target["expr"] for panel in json.loads(BOARD.read_text())["panels"] for target in panel["targets"]]
    return rules + panels


def test_every_metric_that_is_named_is_one_of_the_service():
    source = Path(service_metrics.__file__).read_text()
    families = {*re.findall(r'_gauge\("(\w+)"', source), *re.findall(r'f"\{PREFIX\}_(\w+)"', source)}
    named = {name for text in expressions() for name in re.findall(r"quantum_training_(\w+)", text)}
    assert {re.sub(r"_(total|info|sum|count)$", "", name) for name in named} <= families
    assert len(named) >= 12


def test_promtool_accepts_configuration_rules_and_the_queries_of_the_dashboard(tmp_path):
    shutil.copytree(DOCKER / "prometheus", tmp_path / "prometheus")
    (tmp_path / "prometheus/service_key").touch()
    promtool("check", "config", "prometheus/prometheus.yaml", folder=tmp_path)
    records = [{"record": f"query:{number}", "expr": text} for number, text in enumerate(expressions())]
    (tmp_path / "queries.yaml").write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": records}]}))
    promtool("check", "rules", "queries.yaml", folder=tmp_path)


def alert_test(series, at, name, *alerts, interval="1m"):
    """A case of `promtool test rules`: series of this interval, and label and text of each alert at this minute."""
    expected = [{"exp_labels": labels, "exp_annotations": {"summary": text}} for labels, text in alerts]
    return {
        "interval": interval,
        "input_series": [{"series": series_, "values": values} for series_, values in series.items()],
        "alert_rule_test": [{"eval_time": f"{at}m", "alertname": name, "exp_alerts": expected}],
    }


def test_alerts_fire_when_they_should_and_not_before(tmp_path):
    jobs, seconds = "quantum_training_jobs_total", "quantum_training_job_seconds"
    age = 'quantum_training_candles_age_seconds{symbol="AAA"}'
    of_aaa = {"severity": "warning", "symbol": "AAA"}
    cases = [
        alert_test({'up{job="quantum_training"}': "1x5 0x10"}, 5, "ServiceDown"),
        alert_test(
            {'up{job="quantum_training"}': "1x5 0x10"},
            12,
            "ServiceDown",
            ({"severity": "critical", "job": "quantum_training"}, "The service of quantum_training does not answer"),
        ),
        alert_test({age: "3600x120"}, 100, "CandlesStale"),
        alert_test(
            {age: "172800x120"}, 100, "CandlesStale", (of_aaa, "Candles of AAA lag 2d 0h 0m 0s behind their market")
        ),
        alert_test(
            {f'{jobs}{{status="succeeded"}}': "0+9x60", f'{jobs}{{status="failed"}}': "0+1x60"}, 60, "TrainingsFail"
        ),
        alert_test(
            {f'{jobs}{{status="succeeded"}}': "0+3x60", f'{jobs}{{status="failed"}}': "0+1x60"},
            60,
            "TrainingsFail",
            ({"severity": "warning"}, "25% of the trainings of a day have failed"),
        ),
        alert_test(
            {
                f'{seconds}_sum{{recipe="ppo"}}': "0+10x72 1720+1000x24",
                f'{seconds}_count{{recipe="ppo"}}': "0+1x97",
            },
            4 * DAY,
            "TrainingSlow",
            ({"severity": "warning", "recipe": "ppo"}, "Fits of ppo take three times as long as in the last 30 days"),
            interval="1h",
        ),
        alert_test({"quantum_training_dead_letters": "0x10"}, 5, "DeadLetters"),
        alert_test(
            {"quantum_training_dead_letters": "2x10"},
            5,
            "DeadLetters",
            ({"severity": "warning"}, "2 events could not be processed"),
        ),
    ]
    (tmp_path / "test.yaml").write_text(
        yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": cases})
    )
    promtool("test", "rules", "test.yaml", folder=tmp_path)
