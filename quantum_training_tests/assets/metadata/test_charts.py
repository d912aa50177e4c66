"""Pictures in metadata: their text repeats in numbers what they show in colours."""

import re
from base64 import b64decode
from xml.etree import ElementTree

import numpy as np
import pandas as pd

from quantum_training.assets.metadata.charts import heat_map, line_chart


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


def test_a_line_chart_names_its_ends_and_its_extremes():
    text = line_chart([(1, 0.5), (2, 0.25), (4, 2.0)], "loss over steps")
    assert "first 0.5, last 2, lowest 0.25, highest 2" in text
    assert len(parse_image(text).find(".//{http://www.w3.org/2000/svg}polyline").get("points").split()) == 3
