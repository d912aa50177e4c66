"""The picture of a model's feature importance."""

from xml.etree import ElementTree

from quantum_training.lifecycle.training.importance_chart import SHOWN, importance_chart

SVG = "{http://www.w3.org/2000/svg}"


def test_the_picture_shows_the_most_important_features_first_and_is_the_same_for_the_same_model():
    importance = {f"feature_{n:02}": n / 1000 for n in range(40)} | {"a<b": 0.5}
    text = importance_chart(importance, "trees & more")
    assert text == importance_chart(dict(reversed(importance.items())), "trees & more")
    picture = ElementTree.fromstring(text)
    texts = [element.text for element in picture.iter(f"{SVG}text")]
    assert texts[:5] == ["trees & more", "a<b", "50.0%", "feature_39", "3.9%"]
    bars = [float(element.get("width")) for element in picture.iter(f"{SVG}rect")][1:]
    assert len(bars) == SHOWN
    assert bars == sorted(bars, reverse=True)


def test_a_model_in_which_no_feature_counts_has_empty_bars():
    picture = ElementTree.fromstring(importance_chart({"a": 0.0, "b": 0.0}, "nothing learnt"))
    assert [e.get("width") for e in picture.iter(f"{SVG}rect")][1:] == ["0.0", "0.0"]
