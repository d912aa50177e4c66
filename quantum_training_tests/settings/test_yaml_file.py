"""The settings' YAML: a key stands once, and a name is read as the file has it."""

import pytest

from quantum_training.settings import Settings, load_settings
from quantum_training.settings.paths import SettingsError

MARKET = "source: {kind: yfinance, ticker: BTC-USD}, recipes: [xgboost]"
RECIPES = "recipes: {xgboost: {algorithm: xgboost, label: {kind: forward_return, horizon: 5}}}"
NOT_READ_AS_TEXT = ("ON", "no", "000660", "12_34", "NULL", "1.50", "2019-01-01", "0x1F", "true", "010", "1e+5")
"""Scalars that YAML 1.1, or some reader of it, takes for a boolean, number, date or nothing."""


@pytest.fixture
def load(tmp_path, monkeypatch):
    def load(text: str) -> Settings:
        path = tmp_path / "settings.yaml"
        path.write_text(text)
        monkeypatch.setenv("QUANTUM_TRAINING_CONFIG", str(path))
        return load_settings()

    return load


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        (f"symbols:\n  BTC: {{{MARKET}}}\n  btc: {{{MARKET}}}\n  BTC: {{{MARKET}}}\n{RECIPES}", 5, "BTC"),
        (f"symbols: {{BTC: {{{MARKET}}}}}\n{RECIPES}\nrecipes: {{}}", 4, "recipes"),
        (f"symbols: {{BTC: {{{MARKET}, timeframe: 1h,\n timeframe: 4h}}}}\n{RECIPES}", 3, "timeframe"),
        (f"symbols: {{ON: {{{MARKET}}},\n 'ON': {{{MARKET}}}}}\n{RECIPES}", 3, "ON"),
        (f"symbols: {{BTC: {{{MARKET}}}}}\nrecipes:\n  no: {{}}\n  no: {{}}", 5, "no"),
    ],
)
def test_a_key_that_stands_twice_is_refused_with_file_line_and_key(load, text, line, key):
    with pytest.raises(SettingsError, match=rf"settings.yaml: line {line}: '{key}' is named twice, first in line"):
        load(f"start: 2019-01-01\n{text}")


def test_a_merged_key_may_be_named_again(load):
    settings = load(
        f"start: 2019-01-01\nsymbols:\n  A: &a {{{MARKET}, timeframe: 1h}}\n  B: {{<<: *a, timeframe: 4h}}\n{RECIPES}"
    )
    assert [s.timeframe for s in settings.symbols.values()] == ["1h", "4h"]


@pytest.mark.parametrize("text", [t for t in NOT_READ_AS_TEXT if t not in ("1.50", "1e+5")])
def test_a_symbol_has_the_name_in_the_file(load, text):
    settings = load(f"start: 2019-01-01\nsymbols: {{{text}: {{{MARKET}}}}}\n{RECIPES}")
    assert list(settings.symbols) == [text]


@pytest.mark.parametrize("text", [*NOT_READ_AS_TEXT, "12:30"])
def test_text_options_of_a_source_are_what_the_file_says(load, text):
    settings = load(
        f"""start: 2019-01-01
symbols:
  A:
    source: {{kind: files, path: a.csv, columns: {{close: {text}}}, rows_where: {{tic: {text}}}}}
    recipes: [xgboost]
{RECIPES}"""
    )
    source = settings.symbols["A"].source
    assert (source.columns, source.rows_where) == ({"close": text}, {"tic": text})


def test_a_ticker_and_recipes_that_yaml_takes_for_booleans_are_names(load):
    settings = load(
        """start: 2019-01-01
symbols:
  A: &a {source: {kind: yfinance, ticker: ON}, recipes: [no, y]}
  B: {<<: *a, source: {kind: yfinance, ticker: 000660}}
recipes:
  no: &r {algorithm: xgboost, label: {kind: forward_return, horizon: 5}, params: {max_rounds: 12, flag: no}}
  y: {<<: *r, algorithm: ensemble_vote, members: [no]}
"""
    )
    assert [(s.source.ticker, s.recipes) for s in settings.symbols.values()] == [
        ("ON", ("no", "y")),
        ("000660", ("no", "y")),
    ]
    assert settings.recipes["y"].members == ("no",)
    assert settings.recipes["no"].params == {"max_rounds": 12, "flag": False}


def test_a_file_that_is_no_mapping_is_refused(load):
    with pytest.raises(SettingsError, match=r"settings.yaml: it holds a list; give settings"):
        load("[symbols, recipes]")


def test_a_name_that_is_no_name_is_shown_as_the_file_has_it(load):
    with pytest.raises(SettingsError, match=r"symbols\.12:30"):
        load(f"start: 2019-01-01\nsymbols: {{12:30: {{{MARKET}}}}}\n{RECIPES}")
