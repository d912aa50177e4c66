"""The models that a run keeps in memory: each is loaded once, and the one used longest ago makes room."""

from quantum_training.lifecycle.training.model_cache import ModelCache


def test_a_model_is_loaded_once_and_the_one_used_longest_ago_makes_room():
    cache, loaded = ModelCache(size=2), []

    def load(symbol, model_id):
        loaded.append(model_id)
        return f"model {model_id}"

    assert cache.load("AAA", "one", load) == "model one"
    cache.add("AAA", "two", "model two")
    assert cache.load("AAA", "one", load) == "model one"
    assert loaded == ["one"]
    cache.add("AAA", "three", "model three")
    assert cache.load("AAA", "two", load) == "model two"
    assert loaded == ["one", "two"], "two was used longest ago, so three took its place"
    assert cache.load("BBB", "two", load) == "model two"
    assert loaded == ["one", "two", "two"], "each symbol has its own versions"
