"""`python -m quantum_training.check_settings`: what it prints and its exit status."""

import pytest

from quantum_training.check_settings import main
from quantum_training.lifecycle.records import write_record
from quantum_training.resources.store.store import Store
from quantum_training.settings import config_path
from quantum_training_tests.lifecycle.search.conftest import record_of


@pytest.fixture
def changed(tmp_path, monkeypatch):
    """Use the default settings with some texts replaced."""

    def changed(*replacements):
        text = config_path().read_text()
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new, 1)
        path = tmp_path / "settings.yaml"
        path.write_text(text)
        monkeypatch.setenv("QUANTUM_TRAINING_CONFIG", str(path))

    return changed


def test_the_default_settings_are_right(capsys):
    assert main([]) == 0
    *checks, last = capsys.readouterr().out.splitlines()
    assert checks == [
        "symbols.SP500: 9 bars of 1d up to 2018-12-31 00:00, close 2506.85",
        "symbols.NASDAQ: 9 bars of 1d up to 2018-12-31 00:00, close 6635.28",
        "recipes.xgboost: xgboost fits; it reads 24 columns",
        "recipes.lightgbm: lightgbm fits; it reads 24 columns",
    ]
    assert last.endswith("default.yaml: all is right")


def test_every_wrong_source_and_recipe_is_named(changed, capsys):
    changed(
        ("kind: sample, dataset: sp500", "kind: ccxt, exchange: binnance, market: BTC/USDT"),
        ("kind: sample, dataset: nasdaq", "kind: files, path: gone.csv"),
        ("max_depth: 3", "max_dpth: 3"),
        ("num_leaves: 7", "num_leafs: 7"),
    )
    assert main([]) == 1
    out = capsys.readouterr().out
    assert "symbols.SP500: WRONG: SP500: source ccxt binnance BTC/USDT: ccxt knows no such exchange" in out
    assert "symbols.NASDAQ: WRONG: NASDAQ: source files gone.csv: no such file" in out
    assert "recipes.xgboost: WRONG: xgboost has no use for parameter max_dpth" in out
    assert "recipes.lightgbm: WRONG: lightgbm has no parameter num_leafs" in out
    assert out.splitlines()[-1].endswith("4 of 4 need attention")


def test_feature_sets_are_examined_for_look_ahead(changed, capsys):
    module = "{module: quantum_training_tests.support.feature_modules, params: {function: %s}}"
    sets = {"past": "honest", "future": "shifted_in_helper", "broken": "failing"}
    lines = "".join(f"  {name}: {module % function}\n" for name, function in sets.items())
    changed(
        ("recipes:\n", f"features:\n{lines}recipes:\n"),
        ("algorithm: xgboost", "features: [past]\n    algorithm: xgboost"),
    )
    assert main([]) == 1
    out = capsys.readouterr().out
    assert "features.past: no look-ahead; 48 bars of warm-up; it gives past__value\n" in out
    assert "features.future: WRONG: a feature looks ahead: with other bars after 200" in out
    assert "features.broken: WRONG: no such rate" in out
    assert "recipes.xgboost: xgboost fits; it reads 1 columns" in out


@pytest.mark.parametrize(
    ("space", "result"),
    [
        (
            "params.max_depth: {low: 1, high: 6}",
            "xgboost fits; it reads 24 columns, also with the extremes of its search",
        ),
        ("params.max_dpth: {low: 1, high: 6}", "WRONG: search.space.params.max_dpth with 1: xgboost has no use for"),
        (
            "params.eta: {low: 0.1, high: 0.3}",
            "WRONG: search.space.params.eta with 0.1: xgboost: eta and learning_rate are one",
        ),
        ("features: {choices: [[default], [rsi_15]]}", "rsi_15"),
    ],
)
def test_the_extremes_of_a_search_are_fitted(changed, capsys, space, result):
    changed(("algorithm: xgboost", f"algorithm: xgboost\n    search: {{trials: 4, space: {{{space}}}}}"))
    main([])
    assert result in capsys.readouterr().out


def test_series_and_their_sets_are_tried(changed, capsys, tmp_path):
    (tmp_path / "rate.csv").write_text("date,rate\n2019-01-01,1.5\n2019-01-02,2.5\n")
    source = f"kind: file, path: {tmp_path}/%s, time: date, value: rate, delay: 1d"
    series = "".join(f"  {n}: {{source: {{{source % f'{n}.csv'}}}, max_age: 5d}}\n" for n in ("rate", "gone"))
    module = "{module: quantum_training_tests.support.series_modules, series: rate, params: {function: %s}}"
    sets = f"  mean: {module % 'mean_of_three'}\n  future: {module % 'next_value'}\n"
    changed(("recipes:\n", f"series:\n{series}features:\n{sets}recipes:\n"))
    assert main([]) == 1
    out = capsys.readouterr().out
    assert "series.rate: 2 values, the newest 2.5 of 2019-01-02 00:00:00+00:00, known at 2019-01-03" in out
    assert "(older than max_age)" in out
    assert "series.gone: WRONG: gone: source file" in out
    assert "features.mean: no look-ahead; 3 values of warm-up; it gives mean__result_rate" in out
    assert "features.future: WRONG: a feature looks ahead" in out
    assert out.splitlines()[-1].endswith("2 of 8 need attention")


def test_settings_that_cannot_be_read_are_the_only_finding(changed, capsys):
    changed(("timeframe: 1d", "time_frame: 1d"))
    assert main([]) == 1
    assert "symbols.SP500.time_frame = '1d': unknown field; did you mean timeframe?" in capsys.readouterr().out


def test_a_recipe_that_no_symbol_has_is_named_and_not_fitted(changed, capsys):
    changed(("[xgboost, lightgbm]", "[xgboost]"), ("[xgboost, lightgbm]", "[xgboost]"), ("num_leaves", "num_leafs"))
    assert main([]) == 0
    assert "recipes that no symbol has: lightgbm" in capsys.readouterr().out


def test_the_search_that_a_recipe_was_found_by_is_looked_up(changed, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    changed(("algorithm: xgboost", "found_by: 0123456789abcdef\n    algorithm: xgboost"))
    assert main([]) == 1
    message = "recipes.xgboost.found_by: WRONG: recipes.xgboost.found_by: the store has no record of the search 0123"
    assert message in capsys.readouterr().out
    write_record(
        Store(str(tmp_path / "store")), "NASDAQ", "0123456789abcdef", record_of("0123456789abcdef", "2018-06-04")
    )
    assert main([]) == 0
    assert "the search as of 2018-06-04 00:00 on NASDAQ; 4 trials count against it" in capsys.readouterr().out
