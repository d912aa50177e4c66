"""What a recipe asks of a cluster: the tags that Ray and Kubernetes read, by their own schemas, and the pool."""

import json

import pytest
import yaml
from dagster_k8s.job import USER_DEFINED_K8S_CONFIG_KEY, get_user_defined_k8s_config
from dagster_ray.configs import RayExecutionConfig

from quantum_training.assets.cluster_tags import cluster_tags, max_resources
from quantum_training.definitions import build_defs
from quantum_training.lifecycle.evaluation.leakage import FIELDS_NOT_IN_SKILL
from quantum_training.lifecycle.training.version_identity import FIELDS_NOT_IN_IDENTITY
from quantum_training.settings import load_settings
from quantum_training.settings.schema import Resources

NEEDS = {"cpu": 1.5, "memory_gib": 6, "gpu": 1}


@pytest.fixture
def settings(small, tmp_path, monkeypatch):
    """`settings(executor)`: xgboost asks for two cores, lightgbm for a GPU and memory."""
    small["recipes"]["xgboost"]["resources"] = {"cpu": 2}
    small["recipes"]["lightgbm"]["resources"] = NEEDS
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(small))
    monkeypatch.setenv("QUANTUM_TRAINING_CONFIG", str(tmp_path / "settings.yaml"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))

    def load(executor="in_process"):
        monkeypatch.setenv("QUANTUM_TRAINING_EXECUTOR", executor)
        return load_settings()

    return load


def read(tags):
    """What Ray and Kubernetes make of the tags, as Dagster stores them."""
    stored = {key: value if isinstance(value, str) else json.dumps(value) for key, value in tags.items()}
    container = get_user_defined_k8s_config(stored).container_config
    return RayExecutionConfig.from_tags(stored), container.get("resources", {})


def test_both_clusters_read_the_resources_of_a_recipe():
    ray, kubernetes = read(cluster_tags(Resources(**NEEDS)))
    assert (ray.num_cpus, ray.num_gpus, ray.memory) == (1.5, 1, 6 * 2**30)
    assert kubernetes["requests"] == {"cpu": "1.5", "memory": "6144Mi"}
    assert kubernetes["limits"] == {"memory": "6144Mi", "nvidia.com/gpu": "1"}
    only_gpu = read(cluster_tags(Resources(gpu=2)))
    assert (only_gpu[0].num_cpus, only_gpu[0].num_gpus, only_gpu[1]) == (None, 2, {"limits": {"nvidia.com/gpu": "2"}})
    assert cluster_tags(Resources()) == {}


def test_a_run_of_several_recipes_needs_the_most_of_each():
    needs = [Resources(cpu=2), Resources(memory_gib=3), Resources(cpu=0.5, gpu=1)]
    assert max_resources(needs) == Resources(cpu=2, memory_gib=3, gpu=1)
    assert max_resources([]) == Resources()


def test_a_model_asset_carries_its_tags_and_waits_in_its_pool(settings):
    definitions = build_defs(settings())
    for name, pool, cpus in (("xgboost_model", "training", 2.0), ("lightgbm_model", "gpu", 1.5)):
        op = definitions.resolve_assets_def(name).op
        assert op.pool == pool
        assert read(op.tags)[0].num_cpus == cpus


def test_a_run_requests_resources_only_for_trainings_in_its_own_process(settings):
    for job in ("weekly_cycle", "retrain"):
        tags = build_defs(settings()).resolve_job_def(job).tags
        assert read(tags)[1]["limits"] == {"memory": "6144Mi", "nvidia.com/gpu": "1"}
        assert USER_DEFINED_K8S_CONFIG_KEY in tags
        ray = build_defs(settings("ray")).resolve_job_def(job).tags
        assert not {"dagster-ray/config", USER_DEFINED_K8S_CONFIG_KEY} & ray.keys()


@pytest.mark.parametrize(("trials", "cpus", "memory"), [(1, 2.0, "6144Mi"), (3, 6.0, "18432Mi")])
def test_a_search_requests_the_cores_of_all_trials_at_a_time(settings, small, tmp_path, trials, cpus, memory):
    search = {"space": {"params.max_depth": {"low": 1, "high": 3}}, "parallel_trials": trials}
    small["recipes"]["xgboost"] |= {"search": search, "resources": {"cpu": 2, "memory_gib": 6}}
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(small))
    job = build_defs(settings()).resolve_job_def("search")
    for tags in (job.tags, job.nodes[0].definition.tags):
        ray, kubernetes = read(tags)
        assert (ray.num_cpus, ray.num_gpus) == (cpus, 1), "the GPU is that of lightgbm"
        assert kubernetes["limits"]["memory"] == memory
    assert read(build_defs(settings()).resolve_job_def("retrain").tags)[0].num_cpus == 2


def test_requested_resources_change_no_version_and_no_score(settings):
    recipe = settings().recipes["lightgbm"]
    bare = recipe.model_copy(update={"resources": Resources()})
    for fields in (FIELDS_NOT_IN_IDENTITY, FIELDS_NOT_IN_SKILL):
        assert recipe.model_dump_json(exclude=fields) == bare.model_dump_json(exclude=fields)


@pytest.mark.parametrize(("field", "value"), [("cpu", 0), ("memory_gib", -1), ("gpu", -1), ("gpu", 0.5), ("disk", 1)])
def test_a_wrong_amount_is_refused_by_name(small, tmp_path, monkeypatch, field, value):
    small["recipes"]["xgboost"]["resources"] = {field: value}
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(small))
    monkeypatch.setenv("QUANTUM_TRAINING_CONFIG", str(tmp_path / "settings.yaml"))
    with pytest.raises(ValueError, match=rf"recipes.xgboost.resources.{field} = {value}"):
        load_settings()
