"""Disks that are full or read-only, really: what is stored stands, the error says what to do, the re-run is whole."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from quantum_training.features.windows import WindowSize, build_window
from quantum_training.models.contract import TrainingContext, algorithm
from quantum_training.resources.database import DatabaseError
from quantum_training.resources.ledger import Ledger
from quantum_training.resources.registry.errors import RegistryOutage
from quantum_training.resources.registry.new_version import NewVersion
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store, StoreError
from quantum_training.selection.hash_chain import Entry

MONDAY = pd.Timestamp("2024-01-08", tz="UTC")
WEEK = pd.Timedelta(days=7)


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """`mount(folder, *options)` mounts something there until the test ends; skips where the system does not let us."""
    mounted: list[Path] = []

    def run(folder: Path, *options: str) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"this user may not mount: {done.stderr.strip()}; run as root with CAP_SYS_ADMIN")
        mounted.append(folder)
        return folder

    yield run
    for folder in reversed(mounted):
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def disk(mount: Callable[..., Path], tmp_path: Path) -> Path:
    """A disk of 8 MiB."""
    return mount(tmp_path / "disk", "-t", "tmpfs", "-o", "size=8m", "tmpfs")


def fill(disk: Path, leave: int = 0) -> Path:
    """A file that takes the room of the disk but for so many bytes."""
    ballast = disk / "ballast"
    room = shutil.disk_usage(disk).free - leave
    with ballast.open("wb") as file:
        while room > 0:
            room -= file.write(bytes(min(room, 4096)))
    return ballast


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(f.relative_to(folder)): f.read_bytes()
        for f in sorted(folder.rglob("*"))
        if f.is_file() and not f.name.endswith("-shm")
    }


def frame(rows: int) -> pd.DataFrame:
    index = pd.date_range("2024-01-01", periods=rows, freq="h", tz="UTC", name="open_time")
    return pd.DataFrame({"close": np.random.default_rng(rows).normal(size=rows)}, index)


def entries(weeks: int) -> list[Entry]:
    return [
        Entry(
            symbol="AAA",
            key=f"week/{MONDAY + n * WEEK:%Y-%m-%d}",
            kind="look",
            effective=MONDAY + n * WEEK,
            actor="rule",
            reason="r" * 4000,
            payload={"week": f"{MONDAY + n * WEEK:%Y-%m-%d}"},
        )
        for n in range(weeks)
    ]


@pytest.fixture(scope="module")
def trained() -> tuple:
    """A booster and the features it was fitted on."""
    index = pd.date_range("2023-12-01", periods=300, freq="h", tz="UTC", name="open_time")
    features = pd.DataFrame(np.random.default_rng(0).normal(size=(300, 3)), index, list("abc"))
    labels = pd.DataFrame({"label": (features["a"] > 0).astype(float), "label_end": index}, index)
    options = {"columns": ("a", "b", "c"), "size": WindowSize(max_rows=300, validation_fraction=0.2, min_rows=50)}
    window = build_window(features, labels, as_of=index[-1], **options)
    return algorithm("xgboost").fit(TrainingContext(window, {"max_rounds": 10}, seed=7)), features


def register(registry: ModelRegistry, trained: tuple, model_id: str):
    model, features = trained
    tags = {"model_id": model_id, "recipe": "trees", "as_of": MONDAY.isoformat()}
    return registry.register(
        "AAA", NewVersion(model, "xgboost", features, tags=tags, params={}, metrics={"loss": 0.5}, started=MONDAY)
    )


def test_a_full_disk_leaves_the_store_unchanged_and_the_next_run_completes(disk, tmp_path):
    store, other = Store(root=str(disk / "store")), Store(root=str(tmp_path / "other"))
    for place in (store, other):
        place.write_frame("candles", "AAA", "2024-01-01", frame(100))
    before = files(disk)
    ballast = fill(disk, leave=2 * 4096)
    for period in ("2024-01-01", "2024-02-01"):
        with pytest.raises(StoreError, match=rf"candles/AAA/{period}.parquet cannot be written: No space .* Make room"):
            store.write_frame("candles", "AAA", period, frame(20_000))
    ballast.unlink()
    assert files(disk) == before
    for place in (store, other):
        for period in ("2024-01-01", "2024-02-01"):
            place.write_frame("candles", "AAA", period, frame(20_000))
    assert files(disk / "store") == files(Path(other.root))


def test_a_full_disk_leaves_the_ledger_unchanged_and_the_next_run_completes(disk, tmp_path):
    ledger, other = Ledger(url=f"sqlite:///{disk}/a.db"), Ledger(url=f"sqlite:///{tmp_path}/b.db")
    for one in (ledger, other):
        one.append(entries(2))
    head = ledger.head("AAA")
    ballast = fill(disk, leave=4096)
    begun = time.monotonic()
    with pytest.raises(DatabaseError, match=r"a\.db: .*disk is full.* Make room there, then run this again"):
        ledger.append(entries(300))
    assert time.monotonic() - begun < 20, "waiting does not help where a disk is full"
    ballast.unlink()
    assert ledger.head("AAA") == head
    for one in (ledger, other):
        one.append(entries(300))
        one.verify("AAA")
    assert ledger.head("AAA") == other.head("AAA")


@pytest.mark.parametrize("leave", [0, 20_480, 40_960])
def test_a_full_disk_registers_nothing_and_the_next_run_registers_once(disk, trained, empty_mlflow, leave, monkeypatch):
    shutil.copy(empty_mlflow, disk / "mlflow.db")
    registry = ModelRegistry(tracking_uri=f"sqlite:///{disk}/mlflow.db")
    register(registry, trained, "id-1")
    before = files(disk / "artifacts")
    ballast = fill(disk, leave)
    with pytest.raises(RegistryOutage, match=r"AAA: MLflow at sqlite.* failed in register: .* Make room there"):
        register(registry, trained, "id-2")
    ballast.unlink()
    assert registry.find("AAA", "id-2") is None
    assert before.items() <= files(disk / "artifacts").items()
    second_version = register(registry, trained, "id-2")
    assert second_version.number == 2
    for model_id in ("id-1", "id-2"):
        assert registry.load("AAA", model_id).positions(trained[1]).equals(trained[0].positions(trained[1]))
    experiment = registry.client().get_experiment_by_name("AAA").experiment_id
    assert {r.info.status for r in registry.client().search_runs([experiment])} <= {"FINISHED", "FAILED", "KILLED"}


def test_a_read_only_folder_is_named_and_unchanged(mount, tmp_path, trained, empty_mlflow):
    real = tmp_path / "real"
    real.mkdir()
    shutil.copy(empty_mlflow, real / "mlflow.db")
    register(ModelRegistry(tracking_uri=f"sqlite:///{real}/mlflow.db"), trained, "id-1")
    Store(root=str(real / "store")).write_frame("candles", "AAA", "2024-01-01", frame(100))
    Ledger(url=f"sqlite:///{real}/a.db").append(entries(2))
    before = files(real)
    read_only_mount = mount(tmp_path / "seen", "--bind", str(real))
    subprocess.run(["mount", "-o", "remount,bind,ro", str(read_only_mount)], check=True)
    store = Store(root=str(read_only_mount / "store"))
    assert len(store.read_frame("candles", "AAA", "2024-01-01")) == 100
    assert not store.write_frame("candles", "AAA", "2024-01-01", frame(100)).changed
    with pytest.raises(
        StoreError, match=rf"{read_only_mount}/store/candles/AAA/2024-02-01.parquet .*: Read-only .*read and"
    ):
        store.write_frame("candles", "AAA", "2024-02-01", frame(100))
    for url in (f"sqlite:///{read_only_mount}/a.db", f"sqlite:///{read_only_mount}/none/b.db"):
        with pytest.raises(
            DatabaseError, match=rf"{read_only_mount}/.*\.db: .*Let this user read and write there, then run this"
        ):
            Ledger(url=url).append(entries(3))
    with pytest.raises(
        RegistryOutage, match=rf"AAA: MLflow at sqlite:///{read_only_mount}/mlflow.db .*read and write there"
    ):
        register(ModelRegistry(tracking_uri=f"sqlite:///{read_only_mount}/mlflow.db"), trained, "id-2")
    assert files(real) == before
