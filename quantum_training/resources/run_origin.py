"""Tags of Dagster's runs that say where a run comes from. The service, which loads no Dagster, reads them too."""

LAUNCHED_BY = "clm/launched_by"
"""Of a nested run: the id of the run that carries it out in its own process. A re-execution has the tag, too."""

RE_EXECUTION_OF = "dagster/parent_run_id"
"""Dagster's tag of a re-execution: the run that it tries again."""

ACTOR_TAG, REASON_TAG, REQUEST_TAG = "quantum_training/actor", "quantum_training/reason", "quantum_training/request"
"""Of the runs that the service starts, and of their nested runs: who asked, why, and the address that was asked."""
