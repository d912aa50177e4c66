"""How many bytes the store and a local MLflow take. Places that this machine cannot measure are left out."""

from __future__ import annotations

from pathlib import Path

from fsspec.implementations.local import LocalFileSystem

from quantum_training.resources.cleanup.stale_files import file_bytes, folder_bytes
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store


def storage_sizes(store: Store, registry: ModelRegistry) -> dict[str, int]:
    """Bytes of the store, of MLflow's SQLite file and of MLflow's folder of artefacts, by name."""
    filesystem, base = store.place()
    if isinstance(filesystem, LocalFileSystem):
        sizes = {"store": folder_bytes(Path(base))}
    else:
        sizes = {"store": int(filesystem.du(base)) if filesystem.exists(base) else 0}
    if file := registry.sqlite_file:
        sizes["mlflow_database"] = sum(file_bytes(part) for part in file.parent.glob(f"{file.name}*"))
    if artifacts := registry.artifacts_folder():
        sizes["mlflow_artifacts"] = folder_bytes(artifacts)
    return sizes
