"""Notes of a source on its bars: they travel beside the bars and are stored as attributes."""

import pandas as pd

from quantum_training.market.defects import Defect
from quantum_training.market.notes import Notes, take_notes, with_notes
from quantum_training.market.schema import empty_candles

NOTES = Notes({"empty_rows_dropped": 3}, (Defect("clock_change", "warning", (pd.Timestamp(0, tz="UTC"),), "S: no"),))


def test_notes_are_taken_off_the_bars():
    bars = with_notes(empty_candles(), NOTES)
    assert take_notes(bars) == NOTES
    assert bars.attrs == {}
    assert take_notes(bars) == Notes()


def test_stored_notes_are_the_same():
    assert Notes.stored(NOTES.attributes) == NOTES
    assert Notes().attributes == {}
    assert Notes.stored({}) == Notes()
