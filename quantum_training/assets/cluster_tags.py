"""What trainings ask of a cluster, as tags that Ray and Kubernetes read, and the pool in which they wait."""

from collections.abc import Iterable
from typing import Any

from quantum_training.settings.schema import Resources
from quantum_training.settings.settings import Settings


def needs_of(settings: Settings) -> Resources:
    """What a run needs that trains every recipe one after the other: the most that any of them needs."""
    return most(recipe.resources for recipe in settings.recipes.values())


def most(needs: Iterable[Resources]) -> Resources:
    """The most of each resource; None where nobody names it."""
    told = list(needs)
    return Resources(
        cpu=max((n.cpu for n in told if n.cpu is not None), default=None),
        memory_gib=max((n.memory_gib for n in told if n.memory_gib is not None), default=None),
        gpu=max((n.gpu for n in told), default=0),
    )


def cluster_tags(needs: Resources) -> dict[str, dict[str, Any]]:
    """Tags of a step or a run: `dagster-ray/config` and `dagster-k8s/config`. Empty where nothing is asked for."""
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
    """The pool in which a training waits for its turn."""
    return "gpu" if needs.gpu else "training"
