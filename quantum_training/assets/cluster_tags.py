"""What trainings need of a cluster: the most that any recipe asks for, as tags for Ray and Kubernetes, and the pool."""

from collections.abc import Iterable
from typing import Any

from quantum_training.settings import Settings
from quantum_training.settings.schema import Resources


def needs_of(settings: Settings) -> Resources:
    """The resources of a run that trains every recipe, one after the other: the maximum over the recipes."""
    return max_resources(recipe.resources for recipe in settings.recipes.values())


def needs_of_searches(settings: Settings) -> Resources:
    """The resources of a run that searches any recipe: those of a training for each trial that runs at the same time.
    They share the GPUs of one."""
    needs = [needs_of(settings)]
    for recipe in settings.recipes.values():
        if recipe.search and (trials := recipe.search.parallel_trials) > 1:
            cpu, memory, gpu = recipe.resources.cpu or 1, recipe.resources.memory_gib, recipe.resources.gpu
            needs.append(Resources(cpu=cpu * trials, memory_gib=memory and memory * trials, gpu=gpu))
    return max_resources(needs)


def max_resources(needs: Iterable[Resources]) -> Resources:
    """The maximum of each resource; None if no recipe sets it."""
    resources = list(needs)
    return Resources(
        cpu=max((n.cpu for n in resources if n.cpu is not None), default=None),
        memory_gib=max((n.memory_gib for n in resources if n.memory_gib is not None), default=None),
        gpu=max((n.gpu for n in resources), default=0),
    )


def cluster_tags(needs: Resources) -> dict[str, dict[str, Any]]:
    """Tags of a step or a run: `dagster-ray/config` and `dagster-k8s/config`. Empty if no resource is set."""
    ray: dict[str, Any] = {}
    requests, limits = dict[str, str](), dict[str, str]()
    if needs.cpu is not None:
        ray["num_cpus"] = needs.cpu
        requests["cpu"] = f"{needs.cpu:g}"
    if needs.memory_gib is not None:
        ray["memory"] = int(needs.memory_gib * 2**30)
        requests["memory"] = limits["memory"] = f"{needs.memory_gib * 1024:.0f}Mi"
    if needs.gpu:
        ray["num_gpus"] = needs.gpu
        limits["nvidia.com/gpu"] = str(needs.gpu)
    if not ray:
        return {}
    resources = {name: value for name, value in (("requests", requests), ("limits", limits)) if value}
    return {"dagster-ray/config": ray, "dagster-k8s/config": {"container_config": {"resources": resources}}}


def dagster_pool(needs: Resources) -> str:
    """The Dagster pool that limits how many such trainings run at a time."""
    return "gpu" if needs.gpu else "training"
