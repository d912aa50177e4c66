"""Settings: what is refused at load and how the refusal reads; the operators' variables."""

from pathlib import Path
from pkgutil import iter_modules

import pytest
import yaml
from dagster._utils.schedules import is_valid_cron_string
from pydantic import TypeAdapter, ValidationError

from quantum_training import models
from quantum_training.settings import Settings, config_path, load_settings
from quantum_training.settings.paths import SettingsError, under_dagster_home
from quantum_training.settings.schema import ALGORITHMS, Cron

OPERATOR_VARIABLES = {
    "TRAINING_CRON_SCHEDULE": ("0 5 * * 3", "0 5 * * 3", "0 2 * * 1"),
    "MIN_TRAINING_DATA_POINTS": ("250", 250, 100),
    "TRAINING_BATCH_SIZE": ("500", 500, None),
    "MAX_CONCURRENT_TRAINING_JOBS": ("2", 2, 3),
    "TRAINING_JOB_TIMEOUT": ("60", 60, 3600),
    "TRAINING_RETRY_ATTEMPTS": ("0", 0, 3),
    "MODEL_RETENTION_DAYS": ("7", 7, 30),
    "LOG_LEVEL": ("DEBUG", "DEBUG", "INFO"),
}


@pytest.fixture
def default():
    return yaml.safe_load(config_path().read_text())


@pytest.fixture
def load(tmp_path, monkeypatch):
    def load(settings):
        path = tmp_path / "settings.yaml"
        path.write_text(yaml.safe_dump(settings))
        monkeypatch.setenv("QUANTUM_TRAINING_CONFIG", str(path))
        return load_settings()

    return load


def put(settings, path, value):
    *parents, last = path.split(".")
    for parent in parents:
        settings = settings.setdefault(parent, {})
    settings[last] = value


def test_the_default_loads_and_every_field_is_described():
    settings = load_settings()
    assert list(settings.symbols) == ["SP500", "NASDAQ"]
    undescribed = [
        n
        for n, f in Settings.model_fields.items()
        if not f.description and n not in ("symbols", "recipes", "quality", "promotion", "rollback")
    ]
    assert undescribed == []


@pytest.mark.parametrize("name", OPERATOR_VARIABLES)
def test_an_operators_variable_sets_its_field(name, monkeypatch):
    text, value, default = OPERATOR_VARIABLES[name]
    assert getattr(load_settings(), name.lower()) == default
    monkeypatch.setenv(name, text)
    assert getattr(load_settings(), name.lower()) == value


def test_other_fields_take_the_prefix(monkeypatch):
    monkeypatch.setenv("QUANTUM_TRAINING_BACKTEST_WEEKS", "9")
    monkeypatch.setenv("QUANTUM_TRAINING_PROMOTION__MIN_PREDICTIONS", "50")
    monkeypatch.setenv("BACKTEST_WEEKS", "3")
    settings = load_settings()
    assert (settings.backtest_weeks, settings.promotion.min_predictions) == (9, 50)


SAMPLE = {"source": {"kind": "sample", "dataset": "sp500"}, "recipes": ["xgboost"]}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("colour", "blue", "colour = 'blue': unknown field; fields there are start, end, symbols"),
        ("symbols.SP500.colour", "blue", "symbols.SP500.colour = 'blue'"),
        ("symbols.A|B", {"source": {"kind": "sample", "dataset": "sp500"}, "recipes": ["xgboost"]}, "A|B"),
        ("symbols.SP500.timeframe", "7h", "'7h' is no timeframe"),
        ("symbols.SP500.timeframe", "2w", "allowed: a number of m, h or d that divides a day, as 5m, 1h, 1d; 3d; 1w"),
        ("symbols.SP500", {**SAMPLE, "timeframe": "1w", "calendar": "XNYS"}, "calendar '24/7' only"),
        ("symbols.SP500", {**SAMPLE, "timeframe": "3d", "calendar": "FX"}, "set timeframe: 1d"),
        ("symbols.SP500.calendar", "XMOON", "XMOON"),
        ("symbols.SP500.recipes", ["oracle"], "unknown recipe 'oracle'; allowed: lightgbm, xgboost"),
        ("symbols.SP500.source", {"kind": "crystal_ball"}, "unknown source kind 'crystal_ball'; allowed: ccxt, files"),
        ("symbols.SP500.source", {"kind": "sample", "dataset": "moon"}, "'sp500'"),
        ("symbols.SP500.costs.fee_bps", -1, "symbols.SP500.costs.fee_bps = -1"),
        ("recipes.xgboost.window_bars", -5, "recipes.xgboost.window_bars = -5: Input should be greater"),
        ("recipes.xgboost.sizing", {"break_even": 0.6, "full": 0.5}, "must be above break_even"),
        ("recipes.xgboost.label", {"kind": "hunch"}, "recipes.xgboost.label"),
        (
            "recipes.xgboost.features",
            ["rsi_41"],
            "features: unknown rsi_41; allowed: default, return_1",
        ),
        ("features", {"default": {"module": "mine"}}, "features.default: 'default', the project's features"),
        ("features", {"rsi_14": {"module": "mine"}}, "features.rsi_14: 'default', the project's features"),
        ("features", {"close": {"module": "mine"}}, "features.close: 'default', the project's features"),
        ("features", {"a__b": {"module": "mine"}}, "'__' stands between a set and its column"),
        ("features", {"mine": {"module": "my features"}}, "features.mine.module = 'my features'"),
        ("features", {"mine": {"module": "mine", "timeframes": ["7h"]}}, "'7h' is no timeframe"),
        ("features", {"mine": {"module": "mine", "shifts": [0]}}, "features.mine.shifts.0 = 0"),
        ("features", {"mine": {"module": "mine", "param_grid": {"bars": []}}}, "features.mine.param_grid.bars"),
        ("recipes.xgboost.every_weeks", 0, "recipes.xgboost.every_weeks = 0"),
        ("recipes.xgboost.members", ["oracle"], "recipes.xgboost.members: unknown oracle; allowed: lightgbm, xgboost"),
        ("training_cron_schedule", "every monday", "training_cron_schedule = 'every monday'"),
        ("training_cron_schedule", "0 99 * * 1", "no cron expression"),
        ("training_cron_schedule", "@weekly", "five fields"),
        ("promotion.min_predictions", 1, "promotion.joint.min_predictions = 1"),
        ("owners", ["me"], "owners.0 = 'me'"),
        ("owners", ["me@example.c"], "owners.0 = 'me@example.c'"),
        ("tags", {"a desk": "crypto"}, "tags.a desk"),
        ("tags", {"desk": "crypto and stocks"}, "tags.desk = 'crypto and stocks'"),
        ("decay.rule", "hunch", "decay.rule = 'hunch'"),
        ("decay.alpha", 0.5, "decay.alpha = 0.5"),
        ("log_level", "LOUD", "log_level = 'LOUD'"),
        ("start", "soon", "start = 'soon'"),
        ("symbols.SP500.end", "1998-12-31", "symbols.SP500.end 1998-12-31 is outside the settings'"),
        ("end", "1998-12-31", "end 1998-12-31 is before start 1999-01-01"),
        ("symbols.SP500.start", "1998-01-01", "symbols.SP500.start 1998-01-01 is outside the settings' 1999-01-01 to"),
        ("symbols.SP500.quality", {"preset": "moon"}, "symbols.SP500.quality.preset = 'moon': Input should be"),
        (
            "symbols.SP500.quality",
            {"stale": 7},
            "symbols.SP500.quality.stale = 7: unknown field; did you mean stale_bars?",
        ),
        (
            "symbols.SP500.source",
            {"kind": "sample", "datset": "sp500"},
            "source.datset = 'sp500': unknown field; did you mean dataset?",
        ),
        ("symbols.SP500.costs", {"fee_bsp": 1.0}, "costs.fee_bsp = 1.0: unknown field; did you mean fee_bps?"),
        ("recipes.xgboost.label", {"kind": "forward_return", "horizn": 5}, "did you mean horizon?"),
        ("symbols.BTC/USDT", {"source": {"kind": "sample", "dataset": "sp500"}, "recipes": ["xgboost"]}, "as BTC-USDT"),
        ("recipes.My Trees", {}, "lower-case letters, digits and _ are allowed, as my_trees"),
        ("recipes.xgboost.algorithm", "xgbost", "no such algorithm; allowed: ensemble_regime"),
        ("recipes.xgboost.algorithm", "contract", "no such algorithm"),
        ("recipes.xgboost.window_bars", 60, "recipes.xgboost.window_bars 60 is below min_training_data_points 100"),
        ("end", "31.12.2018", "end = '31.12.2018': no date; write year, month and day, as 2018-12-31"),
        ("symbols.SP500.accepted_bars", [{"bars": ["2008-09-16"]}], "symbols.SP500.accepted_bars.0.reason"),
    ],
)
def test_a_wrong_value_is_refused_with_field_value_and_what_is_allowed(load, default, path, value, message):
    put(default, path, value)
    with pytest.raises(SettingsError) as error:
        load(default)
    assert message in str(error.value)


@pytest.mark.parametrize("cron", ["R R * * *", "0 r(1-5) * * 1", "5,R 2 * * 1"])
def test_a_random_time_is_refused_because_each_process_of_dagster_draws_its_own(cron):
    with pytest.raises(ValidationError, match="no cron expression"):
        TypeAdapter(Cron).validate_python(cron)


@pytest.mark.parametrize(
    "cron",
    [
        "5 * * * *",
        " */15 9-17 * * mon-fri",
        " 0 0 L * *",
        " 0 0 * * fri#2",
        " 0 0 29 2 *",
        " 0 0 30,31 2 *",
        " 0 0 30 2 *",
        " 0 0 31 feb *",
        "\n    0 0 15W * *",
        " 60 * * * *",
        " 0 0 * * 8",
        " */0 * * * *",
        " 1, * * * *",
        " 0 0 0 * * *",
        " * * * *",
        " @daily",
        " every monday",
        "",
    ],
)
def test_a_cron_expression_is_accepted_if_and_only_if_dagster_accepts_it(cron):
    try:
        TypeAdapter(Cron).validate_python(cron)
        accepted = True
    except ValidationError:
        accepted = False
    assert accepted == (len(cron.split()) == 5 and is_valid_cron_string(cron))


def test_a_wrong_variable_is_refused(monkeypatch):
    monkeypatch.setenv("MIN_TRAINING_DATA_POINTS", "many")
    with pytest.raises(SettingsError, match="min_training_data_points = 'many'"):
        load_settings()


def test_a_missing_file_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("QUANTUM_TRAINING_CONFIG", str(tmp_path / "none.yaml"))
    with pytest.raises(SettingsError, match=r"none.yaml: no such settings file"):
        load_settings()


def test_broken_yaml_is_named(monkeypatch, tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text("symbols: [")
    monkeypatch.setenv("QUANTUM_TRAINING_CONFIG", str(path))
    with pytest.raises(SettingsError, match=r"broken\.yaml"):
        load_settings()


def test_dagster_home_is_required_only_when_needed(monkeypatch):
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    load_settings()
    with pytest.raises(SettingsError, match="DAGSTER_HOME is not set"):
        under_dagster_home("store")


def test_a_problem_is_named_with_its_line(monkeypatch, tmp_path):
    path = tmp_path / "settings.yaml"
    text = (
        config_path().read_text().replace("start: 1999-01-01", "start: 1999-13-01").replace("timeframe", "time_frame")
    )
    path.write_text(text)
    monkeypatch.setenv("QUANTUM_TRAINING_CONFIG", str(path))
    with pytest.raises(SettingsError) as error:
        load_settings()
    lines = text.splitlines()
    for problem in ("start = '1999-13-01': no date", "symbols.SP500.time_frame = '1d'", "symbols.NASDAQ.time_frame"):
        (told,) = (line for line in str(error.value).splitlines() if problem in line)
        number = int(told.partition(":")[0].removeprefix("  line "))
        assert problem.split(" ")[0].rpartition(".")[2] in lines[number - 1]


def test_a_symbol_ends_after_it_starts(load, default):
    default["symbols"]["SP500"] |= {"start": "2018-12-31", "end": "2018-01-01"}
    with pytest.raises(SettingsError, match=r"symbols\.SP500: end 2018-01-01 is before start 2018-12-31"):
        load(default)


def test_a_market_that_goes_on_beside_one_that_has_ended(load, default):
    default["symbols"]["BTC-USDT"] = {"source": {"kind": "ccxt", "market": "BTC/USDT"}, "recipes": ["xgboost"]}
    settings = load(default)
    assert settings.last_day_of_all is None
    assert (str(settings.last_day("SP500")), settings.last_day("BTC-USDT")) == ("2018-12-31", None)


def test_every_algorithm_of_this_package_can_be_named():
    assert {*ALGORITHMS} == {
        module.name
        for module in iter_modules(models.__path__)
        if "\nclass Model(" in Path(models.__path__[0], f"{module.name}.py").read_text() and module.name != "contract"
    }
