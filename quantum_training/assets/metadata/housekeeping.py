"""A housekeeping's report for people: metadata in the Dagster UI, log lines, and the message of one that failed."""

from typing import Any

import dagster as dg

from quantum_training.lifecycle.cleanup.housekeeping import CleanupReport


def housekeeping_metadata(report: CleanupReport) -> dict[str, Any]:
    """Metadata of the asset `housekeeping_report`."""
    return {
        "dry_run": report.scope.dry_run,
        "older_than": dg.MetadataValue.timestamp(report.scope.before.to_pydatetime()),
        **{f"{kind}_removed": count.number for kind, count in report.removed.items()},
        **{f"{kind}_bytes": count.size for kind, count in report.removed.items()},
        "bytes_removed": sum(count.size for count in report.removed.values()),
        **{f"versions_kept_for_{reason}": number for reason, number in report.retained_versions.items()},
        **{f"before_{place}_bytes": size for place, size in report.sizes_before.items()},
        **{f"after_{place}_bytes": size for place, size in report.sizes_after.items()},
    }


def log_lines(report: CleanupReport) -> list[str]:
    """One line for each kind of thing that was removed."""
    verb = "would be removed" if report.scope.dry_run else "removed"
    return [f"{kind}: {count.number} {verb}, {count.size:,} bytes" for kind, count in report.removed.items()]


def failure_message(report: CleanupReport) -> str:
    """Which places failed, why, and what to do."""
    errors = "\n".join(f"{place}: {error}" for place, error in report.errors.items())
    return (
        f"{len(report.errors)} places could not be cleaned up, the others were:\n{errors}\n"
        "fix the cause and run this again; what was removed stays removed"
    )
