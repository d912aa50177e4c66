"""The pictures of the README, from what `make demo` left: the life of a champion, and a page of Dagster in a browser.

    DAGSTER_HOME=dagster_home QUANTUM_TRAINING_CONFIG=dagster_home/demo_settings.yaml \
        python -m quantum_training_tests.benchmarks.readme_pictures

Needs Chromium. Writes docs/pictures/life.png and docs/pictures/page.png.
"""

import os
import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pandas as pd

from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.records import WeeklyDecision, WeeklyRollout, read_records
from quantum_training.resources.store.store import Store
from quantum_training.settings import load_settings
from quantum_training.trading.baselines import BUY_AND_HOLD
from quantum_training.trading.scoring import by_strategy
from quantum_training_tests.support.processes import free_port, healthy, program, start, wait_for

PICTURES = Path(__file__).parents[2] / "docs/pictures"
SYMBOL = "SYNTHETIC"
PAGE = "backtest?partition=SYNTHETIC%7C2018-10-01&view=partitions"
NAVY, GRAY, GREEN, RED = "#1f5fd0", "#9aa4b1", "#0b8a6a", "#c2410c"


def draw_life(path: Path) -> None:
    """Equity of the recipe in the shadow beside Buy & Hold, and the share of capital of the champion below."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    settings = load_settings()
    store = Store(root=settings.store_root)
    history = MarketHistory(store, settings, SYMBOL)
    decisions, rollouts = (read_records(store, kind, SYMBOL) for kind in (WeeklyDecision, WeeklyRollout))
    scores = pd.concat([history.scores(week) for week in history.scored_weeks("9999")])
    equity = (1 + by_strategy(scores, "net_return").fillna(0.0)).cumprod()
    (recipe,) = settings.symbols[SYMBOL].recipes
    figure, (above, below) = plt.subplots(2, 1, figsize=(8, 4.2), sharex=True, height_ratios=(3, 1.2))
    above.plot(equity.index, equity[recipe], color=NAVY, label=f"{recipe}, out of sample, after costs")
    above.plot(equity.index, equity[BUY_AND_HOLD], color=GRAY, label="Buy & Hold")
    weeks = pd.to_datetime([*rollouts], utc=True)
    below.step(weeks, [100 * r.share for r in rollouts.values()], where="post", color=NAVY)
    below.set_ylabel("% of capital")
    above.set_ylabel("equity")
    end = pd.Timestamp(str(settings.symbols[SYMBOL].source.edge_until), tz="UTC")  # type: ignore[attr-defined]
    events = [(end, "edge ends", GRAY)]
    for week, decision in decisions.items():
        if decision.champion != decision.former:
            text, colour = ("promoted", GREEN) if decision.champion else ("rolled back", RED)
            events.append((pd.Timestamp(week, tz="UTC"), text, colour))
    for number, (time, text, colour) in enumerate(sorted(events)):
        height = 0.03 + 0.08 * (number % 2)  # the texts of two close events do not overlap
        for axes in (above, below):
            axes.axvline(time, color=colour, linestyle="--", linewidth=1)
        above.annotate(text, (time, height), (4, 0), ("data", "axes fraction"), "offset points", color=colour)
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    above.legend(frameon=False, loc="upper left")
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Software": None})


def photograph_page(path: Path) -> None:
    """A screenshot of an asset's page in Dagster. RuntimeError without Chromium."""
    browser = os.environ.get("QT_CHROMIUM") or shutil.which("chromium")
    if not browser:
        raise RuntimeError("no chromium on the PATH; name it in QT_CHROMIUM")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port = free_port()
        options = ["-m", "quantum_training.definitions", "-h", "127.0.0.1", "-p", str(port)]
        start(stack, [program("dagster-webserver"), *options], folder / "log", {**os.environ}, folder)
        wait_for("webserver", lambda: healthy(f"http://127.0.0.1:{port}/server_info"), 90)
        flags = "--headless --no-sandbox --disable-gpu --no-first-run --hide-scrollbars --virtual-time-budget=60000"
        flags += f" --window-size=1700,900 --user-data-dir={folder}/profile --screenshot={folder}/page.png"
        url = f"http://127.0.0.1:{port}/assets/{PAGE}"
        subprocess.run([browser, *flags.split(), url], check=True, timeout=180, capture_output=True)
        _compress(folder / "page.png", path)


def _compress(source: Path, path: Path) -> None:
    """Store a screenshot in 64 colours, which is enough for text and lines."""
    from PIL import Image

    picture = Image.open(source).convert("RGB").crop((240, 0, 1700, 900))
    picture.quantize(64, Image.Quantize.MEDIANCUT).save(path, optimize=True)


if __name__ == "__main__":
    PICTURES.mkdir(parents=True, exist_ok=True)
    draw_life(PICTURES / "life.png")
    photograph_page(PICTURES / "page.png")
    for picture in sorted(PICTURES.glob("*.png")):
        print(picture.name, f"{picture.stat().st_size / 1000:.0f} kB")
