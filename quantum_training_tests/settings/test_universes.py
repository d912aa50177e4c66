"""What settings with universes must keep to."""

import pytest
import yaml

from quantum_training.settings import load_settings
from quantum_training.settings.paths import SettingsError

MODULE = "quantum_training_tests.support.feature_modules"


@pytest.fixture
def load(small, tmp_path, monkeypatch):
    """`load(*rows, **set_fields)`: settings with a universe of these rows, in which AAA's xgboost ranks a set."""

    def load(*rows, **fields):
        (tmp_path / "members.csv").write_text("\n".join(["symbol,from,to", *rows, ""]))
        small["universes"] = {"top": {"path": str(tmp_path / "members.csv")}}
        small["features"] = {
            "strength": {"module": MODULE, "params": {"function": "honest"}, "within": "top", **fields}
        }
        small["recipes"]["xgboost"]["features"] = ["default", "strength"]
        (tmp_path / "settings.yaml").write_text(yaml.safe_dump(small))
        monkeypatch.setenv("QUANTUM_TRAINING_CONFIG", str(tmp_path / "settings.yaml"))
        return load_settings()

    return load


BOTH = ("AAA,2019-09-01,", "BBB,2019-10-01,2019-12-01")


def test_a_ranked_set_is_of_the_symbols_of_its_universe(load):
    settings = load(*BOTH)
    ranked = settings.features["strength"]
    assert ranked.of == ranked.read_from == ("AAA", "BBB")
    assert [*ranked.columns("strength")] == ["strength__value_rank"]
    assert ranked.columns("strength")["strength__value_rank"] == "what the function gives, its rank within top"
    assert settings.recipes["xgboost"].feature_sets == {"strength": ranked}


def test_expanded_columns_end_with_rank(load):
    columns = load(*BOTH, timeframes=["1d"], shifts=[2]).features["strength"].columns("strength")
    assert [*columns] == [f"strength__value{v}_rank" for v in ("", "_shift_2", "_1d", "_1d_shift_2")]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"within": "best"}, "features.strength.within: unknown best; allowed: top"),
        ({"of": "BBB"}, "features.strength: of and within: a set is of these symbols, or ranked; make two sets"),
        ({"series": "vix"}, "within and series: a set reads bars or values"),
    ],
)
def test_fields_that_do_not_fit_are_refused(load, fields, problem):
    with pytest.raises(SettingsError, match=problem):
        load(*BOTH, **fields)


def test_members_are_symbols_of_the_settings(load):
    with pytest.raises(SettingsError, match=r"universes.top: .*members.csv, line 3: unknown symbol CCC; allowed: AAA"):
        load("AAA,2019-09-01,", "CCC,2019-09-01,")


@pytest.mark.parametrize(("field", "value"), [("timeframe", "1h"), ("calendar", "XNYS")], ids=["timeframe", "calendar"])
def test_members_have_one_timeframe_and_calendar(load, small, field, value):
    small["symbols"]["BBB"][field] = value
    with pytest.raises(SettingsError, match=rf"line 3: BBB has {field} {value}, but AAA (4h|24/7); bars are ranked"):
        load(*BOTH)


def test_nobody_is_a_member_after_its_data_have_ended(load, small):
    small["symbols"]["BBB"]["end"] = "2019-11-29"
    with pytest.raises(SettingsError, match=r"line 3: the data of BBB end on 2019-11-29, but it is a member after"):
        load(*BOTH)
    small["symbols"]["BBB"]["end"] = "2019-11-30"
    load(*BOTH)


def test_a_bar_of_several_days_that_the_data_do_not_end_is_none_of_a_member(load, small):
    """It never is stored: all others would wait for it."""
    small["symbols"]["AAA"]["timeframe"] = small["symbols"]["BBB"]["timeframe"] = "1w"
    small["symbols"]["BBB"]["end"] = "2019-10-15"
    with pytest.raises(SettingsError, match=r"line 3: the data of BBB end .* give `to`, 2019-10-14 at the latest"):
        load(BOTH[0], "BBB,2019-09-01,2019-10-16")
    load(BOTH[0], "BBB,2019-09-01,2019-10-14")


def test_where_all_data_end_memberships_go_on(load, small):
    small["end"] = "2019-11-15"
    assert load(*BOTH).universes["top"].spells[0].end is None


def test_who_never_is_a_member_has_no_recipe_with_ranks(load, small):
    with pytest.raises(SettingsError, match=r"symbols.BBB.recipes: xgboost learns from features.strength, but BBB"):
        load("AAA,2019-09-01,")
    small["symbols"]["BBB"]["recipes"] = ["lightgbm"]
    assert load("AAA,2019-09-01,").features["strength"].of == ("AAA",)


def test_a_wrong_file_is_named_with_the_place_in_the_settings(load):
    with pytest.raises(SettingsError, match=r"universes.top = .*members.csv, line 2: to 2019-09-01 is not after from"):
        load("AAA,2019-09-01,2019-09-01")
