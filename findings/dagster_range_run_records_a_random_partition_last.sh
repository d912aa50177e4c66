#!/usr/bin/env bash
# Dagster 1.13.27: a run over a range of two-dimensional partitions records their materialisations in the order of a
# Python set of strings, which changes with the hash seed of the process. The last of them is what the asset's page shows
# as "Latest materialization", with its metadata: a random partition of the range. A range of one time dimension is
# recorded in order. And a check with partitions_def gets one evaluation for the whole range, without a partition, while
# the evaluation that was planned for each partition stays open and reads "Skipped".
# Seen: five processes with other hash seeds end with different partitions, although each run is the same; of the check
# 12 planned rows stay PLANNED, and one row without a partition is SUCCEEDED. Fails if the order is always the same, or if
# the planned evaluations are filled in.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check dagster==1.13.27
cat > "$folder/order.py" <<'PY'
import collections
import sys
import warnings

warnings.simplefilter("ignore")
import dagster as dg
import sqlalchemy as sa
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable as Checks

months = dg.MonthlyPartitionsDefinition(start_date="2024-01-01", end_date="2024-07-01")
grid = dg.MultiPartitionsDefinition({"market": dg.StaticPartitionsDefinition(["A", "B"]), "month": months})


@dg.asset(partitions_def=grid, backfill_policy=dg.BackfillPolicy.single_run())
def prices(context):
    return dg.MaterializeResult()


@dg.asset_check(asset=prices, partitions_def=grid)
def complete():
    return dg.AssetCheckResult(passed=True)


definitions = dg.Definitions([prices], asset_checks=[complete], jobs=[dg.define_asset_job("all_prices", "*")])
tags = {f"dagster/asset_partition_range_{end}": key for end, key in (("start", "A|2024-01-01"), ("end", "B|2024-06-01"))}
with dg.DagsterInstance.local_temp(sys.argv[1]) as instance:
    assert definitions.resolve_job_def("all_prices").execute_in_process(instance=instance, tags=tags).success
    print(instance.get_latest_materialization_event(dg.AssetKey("prices")).asset_materialization.partition)
    with instance.event_log_storage.index_connection() as connection:
        rows = connection.execute(sa.select(Checks.c.partition, Checks.c.execution_status)).fetchall()
print(sorted(collections.Counter((bool(partition), status) for partition, status in rows).items()), file=sys.stderr)
PY
for seed in 1 2 3 4 5; do
    mkdir "$folder/home$seed"
    PYTHONHASHSEED=$seed "$folder/venv/bin/python" "$folder/order.py" "$folder/home$seed" 2>> "$folder/log"
done | tee "$folder/last"
grep "PLANNED" "$folder/log" | sort -u
test "$(sort -u "$folder/last" | wc -l)" -gt 1 || { echo "changed: every process ends with the same partition"; exit 1; }
grep -q "((False, 'SUCCEEDED'), 1), ((True, 'PLANNED'), 12)" "$folder/log" || { echo "changed: the planned evaluations"; exit 1; }
