"""The recorded versions of a recipe, and which of them may trade."""

from quantum_training.lifecycle.training.versions import recorded_versions, versions_of
from quantum_training.resources.store.store import Store

WEEKS = ["2020-01-06", "2020-01-13", "2020-01-20"]


def test_all_versions_but_the_refused_may_trade_and_so_may_those_from_before_the_gate(tmp_path):
    store = Store(root=str(tmp_path))
    verdicts = [
        {},
        {"refresh": {"accepted": False, "reason": "broken"}},
        {"refresh": {"accepted": True, "reason": "sane"}},
    ]
    for week, verdict in zip(WEEKS, verdicts, strict=True):
        version = {"as_of": f"{week}T00:00:00+00:00", "model_id": week, **verdict}
        store.write_record("xgboost_model", "AAA", week, {"outcome": "trained", "versions": [version]})
    assert [v.model_id for v in versions_of(store, "AAA", "xgboost")] == [WEEKS[0], WEEKS[2]]
    assert [v.model_id for v in versions_of(store, "AAA", "xgboost", WEEKS[1])] == [WEEKS[0]]
    assert [v.model_id for v in recorded_versions(store, "AAA", "xgboost")] == WEEKS
    assert versions_of(store, "BBB", "xgboost") == []
