"""The state of a symbol as the weekly assets leave it, without training and Dagster: scores, decisions, rollout."""

import numpy as np
import pandas as pd

from quantum_training.lifecycle.consistency.comparisons import require_one_state
from quantum_training.lifecycle.consistency.ledger import ledger_inconsistencies
from quantum_training.lifecycle.decision.champion import complete_records, decide
from quantum_training.lifecycle.decision.manual_actions import ManualAction, record_action
from quantum_training.lifecycle.decision.rollout import rollout_weeks
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.records import write_record
from quantum_training.lifecycle.recovery.ledger_restore import Restorer, restore_ledger
from quantum_training.lifecycle.services import Services
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.ledger import Ledger
from quantum_training.selection.hash_chain import Entry

NOW = pd.Timestamp("2020-02-12 12:00", tz="UTC")
ANN = Restorer("ann", "the disk is gone", "run-1")


class Long:
    """All in on every bar."""

    lookback_bars = 0

    def positions(self, features):
        return pd.Series(1.0, features.index)


class Home:
    """The state of AAA over a workspace of lifecycle/conftest.py."""

    def __init__(self, workspace, versions=True):
        """versions: False if no version was trained, which MLflow would have to hold."""
        self.w, self.versions = workspace, versions
        self.history = MarketHistory(workspace.store, workspace.settings, "AAA")
        events = EventBus(database_url=workspace.settings.database_url)
        self.services = Services(workspace.settings, workspace.store, workspace.registry, events)
        self.ledger = workspace.ledger

    def score(self, weeks, seed=0):
        times = pd.date_range("2019-12-01", "2020-04-01", freq="4h", tz="UTC", inclusive="left", name="open_time")
        for month, part in pd.DataFrame({"return_1": 0.0}, times).groupby(times.strftime("%Y-%m-01")):
            until = pd.Timestamp(month, tz="UTC") + pd.DateOffset(months=1)
            for asset in ("candles", "features"):
                self.w.store.write_frame(asset, "AAA", month, part, {"covered_until": until.isoformat()})
        for week in weeks:
            start = pd.Timestamp(week, tz="UTC") - pd.Timedelta(days=7)
            index = pd.date_range(start, periods=42, freq="4h", name="open_time")
            rng = np.random.default_rng([seed, int(start.timestamp())])
            frames = []
            for recipe in ("xgboost", "lightgbm", "buy_and_hold"):
                is_recipe = self.versions and recipe != "buy_and_hold"
                model_id = f"{recipe}-{start:%Y-%m-%d}" if is_recipe else ""
                values = {"strategy": recipe, "model_id": model_id, "target": 1.0, "turnover": 0.1}
                frames.append(pd.DataFrame({**values, "net_return": 0.01 * rng.normal(size=42)}, index))
                for trained in (f"{start:%Y-%m-%d}", week) if model_id else ():
                    version = {"as_of": f"{trained}T00:00:00+00:00", "model_id": f"{recipe}-{trained}"}
                    self.w.store.write_record(f"{recipe}_model", "AAA", trained, {"versions": [version]})
            self.w.store.write_frame("shadow_scores", "AAA", week, pd.concat(frames))

    def decide(self, week):
        """As champion and rollout of a run of one week."""
        require_one_state(self.services, self.ledger, "AAA", week)
        decisions = decide(self.history, self.ledger, week, lambda model_id: Long())
        write_record(self.w.store, "AAA", week, decisions[week])
        complete_records(self.w.store, self.ledger, "AAA", decisions)
        write_record(self.w.store, "AAA", week, rollout_weeks(self.history, self.ledger, week)[week])

    def cycle(self, weeks, seed=0):
        for week in weeks:
            self.score([week], seed)
            self.decide(week)
        return self

    def act(self, kind, reason="I know better", **fields):
        """A job of a person, with the decision that it starts."""
        action = ManualAction(kind, "AAA", "bob", reason, f"{kind}/{reason}", **fields)
        self.decide(record_action(action, self.w.settings, self.w.store, self.ledger, NOW))

    def lose_ledger(self, rows=0):
        """Replace the ledger by a new one with the first rows of it, as an old backup has."""
        kept = [Entry(**row.model_dump(include=set(Entry.model_fields))) for row in self.ledger.rows("AAA")[:rows]]
        self.ledger = Ledger(url=self.ledger.url.replace(".db", "_2.db"))
        self.ledger.append(kept)

    def problems(self):
        return [str(i) for i in ledger_inconsistencies(self.services, self.ledger, "AAA")]

    def restore(self):
        return restore_ledger(self.w.store, self.ledger, "AAA", ANN, NOW)

    def row(self, kind, key, payload):
        """Add a row as another home's ledger may have it."""
        entry = Entry(symbol="AAA", key=key, kind=kind, effective=NOW, actor="rule", reason="", payload=payload)
        self.ledger.append([entry])
