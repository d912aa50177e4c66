"""Job `search`: searches better parameters of a recipe within the data of one time. How: lifecycle/search."""

import dagster as dg
import pandas as pd

from quantum_training.assets.cluster_tags import cluster_tags, needs_of_searches
from quantum_training.assets.metadata.search import search_metadata
from quantum_training.automation.execution.pool_limits import TRAINING_POOL
from quantum_training.automation.execution.priorities import priority_tag
from quantum_training.automation.failures.storage_faults import restart_after_storage_fault
from quantum_training.automation.jobs.run_tags import training_tags
from quantum_training.lifecycle.search.publish import publish_search, sentence
from quantum_training.lifecycle.search.search_recipe import SearchError, SearchTask, newest_as_of, search_recipe
from quantum_training.lifecycle.services import Services
from quantum_training.lifecycle.surveillance.run_priorities import MANUAL
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings

SEARCH, SEARCH_OP = "search", "search_recipe"
DESCRIPTION = (
    "Search better parameters of a recipe for a symbol, by its `search`, within the data that are known at as_of. All "
    "trials are counted against the challenger that it proposes; no recipe changes by it."
)


class SearchConfig(dg.Config):
    """The recipe and the symbol, and with which data."""

    recipe: str
    symbol: str
    as_of: str = ""
    """UTC time up to which the search sees data; default: the newest Monday up to which features are stored."""


def build_search_job(settings: Settings) -> dg.JobDefinition:
    """The job, unpartitioned: one recipe and symbol per run. A run that was killed goes on if it is executed again."""
    needs = needs_of_searches(settings)

    @dg.op(name=SEARCH_OP, description=DESCRIPTION, tags=cluster_tags(needs), pool=TRAINING_POOL)
    def search_op(
        context: dg.OpExecutionContext,
        config: SearchConfig,
        store: dg.ResourceParam[Store],
        registry: dg.ResourceParam[ModelRegistry],
        events: dg.ResourceParam[EventBus],
    ) -> None:
        try:
            as_of = pd.Timestamp(config.as_of) if config.as_of else newest_as_of(store, config.symbol)
            as_of = as_of.tz_localize("UTC") if as_of.tz is None else as_of.tz_convert("UTC")
            task = SearchTask(config.recipe, config.symbol, as_of)
            record = search_recipe(settings, store, task, context.log.info)
        except SearchError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        summary = sentence(task, record)
        context.log.info(f"{summary}\nThe best recipe, to be named in the symbol's recipes:\n{record.challenger_yaml}")
        published = publish_search(Services(settings, store, registry, events), task, record)
        context.add_output_metadata(search_metadata(summary, record, published))

    @dg.job(
        name=SEARCH,
        description=DESCRIPTION,
        tags=training_tags(settings, needs) | priority_tag(MANUAL),
        hooks={restart_after_storage_fault},
    )
    def search() -> None:
        search_op()

    return search
