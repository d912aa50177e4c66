"""The whole cycle on bars of several days: a later backfill says of a week what was said in that week."""

from copy import deepcopy

import pandas as pd
import pytest

FIRST, AT_MONTHS_END, LAST = "2020-01-20", "2020-02-03", "2020-02-10"


@pytest.fixture
def recorded_until(build_project, small):
    """`recorded_until(day)`: a project of three-day bars of which one opened on 2020-02-01; the data end with `day`."""
    small["start"], small["min_training_data_points"] = "2016-01-01", 50
    market = small["symbols"]["AAA"] | {"timeframe": "3d from 1970-01-03", "recipes": ["xgboost", "vote"]}
    small["symbols"] = {"AAA": market}
    boosters = small["recipes"]
    boosters["xgboost"]["window_bars"] = 80
    small["recipes"] = {
        "xgboost": boosters["xgboost"],
        "vote": {"algorithm": "ensemble_vote", "label": boosters["xgboost"]["label"], "window_bars": 60},
    }

    def build(end):
        settings = deepcopy(small)
        settings["symbols"]["AAA"]["source"] |= {"start": "2016-01-01", "end": end}
        return build_project(settings)

    return build


@pytest.mark.long
def test_a_backfill_says_of_a_week_what_was_said_in_it(recorded_until):
    backfill, then = recorded_until("2020-04-01"), recorded_until(AT_MONTHS_END)
    backfill.market_data(first="2016-01-01", last="2020-03-01")
    then.market_data(first="2016-01-01", last="2020-02-01")
    assert backfill.run("weekly_cycle", f"AAA|{FIRST}", f"AAA|{LAST}").success
    assert then.run("weekly_cycle", f"AAA|{FIRST}", f"AAA|{AT_MONTHS_END}").success
    for project in (backfill, then):
        assert project.run("drift", f"AAA|{AT_MONTHS_END}").success
    ours, theirs = backfill.stored(), then.stored()
    decided = [f for f in theirs if not f.startswith(("candles/", "features/")) and not f.endswith("html")]
    assert {f: ours[f] for f in decided} == {f: theirs[f] for f in decided}
    assets = {"xgboost_model", "vote_model", "shadow_scores", "backtest", "champion", "rollout", "decay_report"}
    assert {f.split("/")[0] for f in decided} >= assets | {"drift_report"}
    records = then.store.read_records("xgboost_model", "AAA")
    assert {record["outcome"] for record in records.values()} == {"trained"}
    for week in pd.date_range(FIRST, LAST, freq="7D", tz="UTC"):
        scores = backfill.store.read_frame("shadow_scores", "AAA", f"{week:%Y-%m-%d}")
        opens = pd.DatetimeIndex(scores.index.unique())
        assert 2 <= len(opens) <= 3
        assert ((opens + pd.Timedelta("3D") > week - pd.Timedelta("7D")) & (opens + pd.Timedelta("3D") <= week)).all()
        decided = scores[scores["strategy"] == "xgboost"]
        assert week <= pd.Timestamp(FIRST, tz="UTC") or decided["target"].notna().any()
