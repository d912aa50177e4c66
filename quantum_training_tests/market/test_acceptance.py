"""Accepted bars: what a person has looked at passes the gate, and nothing else does."""

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from quantum_training.market.accepted_bars import AcceptedBars
from quantum_training.market.periods import MarketPeriod
from quantum_training.market.quality import QualityLimits, assess
from quantum_training.market.schema import as_candles

PERIOD = MarketPeriod("AAA", "1h", "24/7", *(pd.Timestamp(t, tz="UTC") for t in ("2023-02-01", "2023-03-01")))
SPLIT = "2023-02-10T05:00Z"


def accept(*bars, **fields):
    return AcceptedBars(**({"bars": bars} if bars else {}), **{"reason": "a court ruling", "by": "Jane", **fields})


@pytest.fixture
def bars():
    times = pd.date_range(PERIOD.start, PERIOD.end, freq="1h", inclusive="left", name="open_time")
    rng = np.random.default_rng(1)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.004, len(times))))
    open_ = np.r_[100.0, close[:-1]]
    high, low = np.maximum(open_, close) * 1.001, np.minimum(open_, close) * 0.999
    columns = {"open": open_, "high": high, "low": low, "close": close, "volume": rng.lognormal(3, 0.3, len(times))}
    return as_candles(pd.DataFrame(columns, times))


@pytest.fixture
def halved(bars):
    bars.loc[SPLIT:, ["open", "high", "low", "close"]] /= 2
    return bars


def judge(bars, *accepted, period=PERIOD):
    return assess(bars, period, None, QualityLimits(), accepted)


def test_an_error_says_how_its_bars_are_accepted(halved):
    (defect,) = judge(halved)
    assert defect.severity == "error"
    assert "symbols.AAA.accepted_bars: {bars: [2023-02-10T05:00Z], rule: split_like_jump, reason: ..., by: ..." in (
        defect.message
    )


@pytest.mark.parametrize(
    "acceptance",
    [
        accept(SPLIT),
        accept(SPLIT, rule="split_like_jump"),
        accept(**{"from": "2023-02-10", "until": "2023-02-11"}),
        accept("2023-02-10 05:00"),
    ],
)
def test_an_accepted_bar_is_no_error_and_says_who_accepted_it(halved, acceptance):
    (defect,) = judge(halved, acceptance)
    assert (defect.severity, defect.acceptances) == ("accepted", (acceptance,))
    assert defect.message.endswith("accepted by Jane: a court ruling")


def test_another_bar_or_another_rule_is_not_accepted(halved):
    for acceptance in (accept("2023-02-11"), accept(SPLIT, rule="stale")):
        errors, warnings = judge(halved, acceptance)
        assert (errors.severity, warnings.severity, warnings.rule) == ("error", "warning", "acceptance_unused")
        assert "a court ruling" in warnings.message


def test_a_defect_of_which_a_part_is_accepted_is_refused_and_asks_for_the_rest(bars):
    bars.iloc[100:200, :4] = bars.iloc[100, 0]

    def stale(until):
        acceptance = accept(**{"from": bars.index[100], "until": bars.index[until]})
        return next(defect for defect in judge(bars, acceptance) if defect.rule == "stale")

    defect = stale(190)
    assert defect.severity == "error"
    assert f"from: {bars.index[190]:%Y-%m-%dT%H:%MZ}, until: {bars.index[200]:%Y-%m-%dT%H:%MZ}" in defect.message
    assert (stale(200).severity, len(stale(200).bars), len(stale(200).every_bar)) == ("accepted", 50, 100)


def test_a_closed_period_excuses_its_missing_bars_and_no_others(bars):
    closed = accept(**{"from": "2023-02-10", "until": "2023-02-12"})
    (defect,) = judge(bars.drop(bars.loc["2023-02-10":"2023-02-11"].index), closed)
    assert (defect.rule, defect.severity, len(defect.bars)) == ("missing_bars", "accepted", 48)
    more = bars.drop(bars.loc["2023-02-10":"2023-02-13"].index)
    severities = {d.severity: len(d.bars) for d in judge(more, closed)}
    assert severities == {"accepted": 48, "error": 48}


def test_a_month_that_was_closed_may_be_empty(bars):
    (defect,) = judge(bars[:0], accept(**{"from": PERIOD.start, "until": PERIOD.end}))
    assert defect.severity == "accepted"
    assert {d.severity for d in judge(bars[:0], accept(**{"from": PERIOD.start, "until": "2023-02-28"}))} == {
        "accepted",
        "error",
    }


@pytest.mark.parametrize("price", [-37.63, 0.0, float("nan"), float("inf")])
def test_what_the_simulator_cannot_hold_is_never_accepted_and_says_why(bars, price):
    bars.loc[SPLIT, ["open", "high", "low", "close"]] = price
    errors = [d for d in judge(bars, accept(SPLIT)) if d.severity == "error"]
    assert errors
    assert all("It cannot be accepted: the simulator" in error.message for error in errors)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "name either `bars`, or a period"),
        ({"bars": [SPLIT], "from": SPLIT, "until": "2023-03-01"}, "name either"),
        ({"from": SPLIT}, "name either"),
        ({"from": SPLIT, "until": "2023-01-01"}, "must be after from"),
        ({"bars": [SPLIT], "rule": "positive_price"}, "positive_price cannot be accepted: the simulator"),
        ({"bars": [SPLIT], "reason": ""}, "reason"),
        ({"bars": [SPLIT], "by": ""}, "by"),
        ({"bars": ["yesterday"]}, "bars"),
    ],
)
def test_an_acceptance_names_bars_reason_and_person(fields, message):
    with pytest.raises(ValidationError, match=message):
        AcceptedBars.model_validate({"reason": "a ruling", "by": "Jane", **fields})
