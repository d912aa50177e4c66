"""Fetch a version from MLflow and check each of its files before anything in them is run or installed.

    python fetch_version.py SP500@champion FOLDER

It needs mlflow-skinny, and the server's address in MLFLOW_TRACKING_URI. The hashes are a file of the version's run, and
the version itself has the hash of that file, as the platform stored it.
"""

import hashlib
import json
import sys
from pathlib import Path

import mlflow


def fetch(name: str, folder: Path) -> None:
    symbol, _, alias = name.partition("@")
    version = mlflow.MlflowClient().get_model_version_by_alias(symbol, alias)
    listed = mlflow.artifacts.load_text(f"runs:/{version.run_id}/artifact_files.json")
    if hashlib.sha256(listed.encode()).hexdigest() != version.tags["artifact_files"]:
        sys.exit(f"{name}, version {version.version}: its list of hashes is not what was registered; do not run it")
    registered = json.loads(listed)
    if folder.exists():
        sys.exit(f"{folder} exists; name a new folder")
    mlflow.artifacts.download_artifacts(version.source, dst_path=str(folder))
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if not path.is_dir()}
    hashes = {file: hashlib.sha256(path.read_bytes()).hexdigest() for file, path in files.items()}
    if wrong := [file for file, sha256 in registered.items() if hashes.get(file) != sha256]:
        sys.exit(f"{name}, version {version.version}: {', '.join(wrong)} is not what was registered; do not run it")
    for file in files.keys() - registered.keys():  # what somebody added, and what Python compiled
        files[file].unlink()
    print(f"{name}: version {version.version}, {len(registered)} files as registered, in {folder}")


if __name__ == "__main__":
    fetch(sys.argv[1], Path(sys.argv[2]))
