"""Pictures in metadata: their text repeats in numbers what they show in colours."""

import re
from base64 import b64decode
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from quantum_training.assets.metadata.charts import COLOURS, HEIGHT, INLINE, PAD, WIDTH, heat_map, line_chart


def parse_image(markdown):
    (data,) = re.findall(r"\(data:image/svg\+xml;base64,([^)]+)\)", markdown)
    return ElementTree.fromstring(b64decode(data))


def test_a_heat_map_has_a_cell_per_number_and_a_dash_for_an_undefined_one():
    table = pd.DataFrame([[1.0, -0.5], [0.0, np.nan]], ["first & last", "b"], ["one", "two"])
    root = parse_image(heat_map(table, "weights"))
    texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["one", "two", "first & last", "1.00", "-0.50", "b", "0.00", "-"]
    fills = [cell.get("fill") for cell in root.iter("{http://www.w3.org/2000/svg}rect")][1:]
    assert fills == ["rgb(255,100,100)", "rgb(178,178,255)", "rgb(255,255,255)", "rgb(224,224,224)"]
    width, height = float(root.get("width")), float(root.get("height"))
    for cell in list(root.iter("{http://www.w3.org/2000/svg}rect"))[1:]:
        assert float(cell.get("x")) + float(cell.get("width")) <= width
        assert float(cell.get("y")) + float(cell.get("height")) <= height


def paths(markdown):
    """The points of each line of a chart, in pixels, by colour."""
    (data,) = re.findall(r"\(data:image/svg\+xml,([^)]+)\)", markdown)
    lines = {}
    for path in ElementTree.fromstring(unquote(data)).iter("{http://www.w3.org/2000/svg}path"):
        numbers = [int(n) for n in re.findall(r"-?\d+", path.get("d"))]
        lines[path.get("stroke")] = np.cumsum(np.array(numbers).reshape(-1, 2), axis=0)
    return lines


def test_a_line_chart_is_drawn_to_scale_and_says_its_values_in_words():
    losses = pd.Series({1: 0.5, 2: 0.25, 4: 2.0})
    text = line_chart({"loss": losses}, "loss over steps")
    assert "loss over steps, 1 to 4: last 2; lowest 0.25, highest 2" in text
    (points,) = paths(text).values()
    assert points[:, 1].tolist() == [HEIGHT - PAD - round((v - 0.25) / 1.75 * (HEIGHT - 2 * PAD)) for v in losses]


@pytest.mark.parametrize("lines", [1, 3, 5, 9])
@pytest.mark.parametrize("points", [2, 50, 5000])
def test_a_line_chart_of_any_length_fits_into_a_page_of_dagster(lines, points):
    times = pd.date_range("2020", periods=points, freq="1h", tz="UTC")
    walks = np.random.default_rng(points).standard_normal((points, lines)).cumsum(axis=0) * 1e4
    text = line_chart({f"recipe_{n}": pd.Series(walks[:, n], times) for n in range(lines)}, "equity after costs")
    assert len(text) < INLINE
    drawn = paths(text)
    assert len(drawn) == min(lines, len(COLOURS))
    first = drawn[COLOURS[0]]
    height = HEIGHT - 2 * PAD
    shown = walks[:, : len(COLOURS)]
    scaled = HEIGHT - PAD - (walks[:, 0] - shown.min()) / np.ptp(shown) * height
    assert first[:, 1].min() == round(scaled.min()), "thinning keeps the extremes"
    assert first[:, 1].max() == round(scaled.max())
    assert (first[0, 0], first[-1, 0]) == (PAD, WIDTH - PAD)


def test_values_that_are_missing_are_left_out_and_a_chart_without_values_says_so():
    text = line_chart({"z": pd.Series([np.nan, 1.0, 2.0, np.nan])}, "evidence")
    assert len(paths(text)["blue"]) == 2
    assert line_chart({"z": pd.Series([np.nan])}, "evidence") == "evidence: no value is defined"
