"""Fixtures for every test."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def candles_dir() -> Path:
    """Folder of the real candles: QT_CANDLES_DIR, else ../shared/candles beside the repository."""
    beside = Path(__file__).parents[2] / "shared" / "candles"
    folder = Path(os.environ.get("QT_CANDLES_DIR") or beside)
    if not folder.is_dir():
        pytest.skip(f"no real candles at {folder}; set QT_CANDLES_DIR to their folder")
    return folder
