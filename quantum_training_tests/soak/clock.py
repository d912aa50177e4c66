"""A wall clock that jumps while a process runs. The monotonic clock goes on, as on a real machine."""

import datetime
import sys
import time


def shift_clock(days: float, after_cpu: float) -> None:
    """Let time.time, pandas and the package's datetime.now jump by so many days after that many CPU seconds.

    Dagster compares types of datetime, so it sees the jump in time.time alone.
    """
    import pandas as pd

    real, real_ns = time.time, time.time_ns

    def offset() -> float:
        return days * 86_400 if time.process_time() - began >= after_cpu else 0.0

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls.fromtimestamp(time.time(), tz)

        @classmethod
        def utcnow(cls):
            return cls.fromtimestamp(time.time(), datetime.UTC).replace(tzinfo=None)

    def now(tz=None):
        return pd.Timestamp(time.time(), unit="s", tz="UTC").tz_convert(tz)

    began = time.process_time()
    original = datetime.datetime
    time.time = lambda: real() + offset()
    time.time_ns = lambda: real_ns() + int(offset() * 1e9)
    for name, module in list(sys.modules.items()):
        if name.startswith("quantum_training.") and vars(module).get("datetime") is original:
            module.datetime = Clock
    pd.Timestamp.now = now
