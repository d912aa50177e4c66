#!/usr/bin/env bash
# Dagster's web UI 1.13.27 shows Markdown metadata inside the asset's page only if it has fewer than 1,000 characters.
# Longer Markdown is a link "[Show Markdown]" that opens a dialog. Pictures as data URIs are shown, PNG and SVG, but a PNG
# of a chart of 540 x 180 pixels takes some 10,000 characters; an SVG line of a hundred points, percent-encoded and with
# relative whole coordinates, fits. Not documented; seen in a browser and read in the bundle of the web UI.
# Seen: the compiled bundle compares mdStr.length with 1e3 before it draws "[Show Markdown]"; a matplotlib picture of two
# lines is 10 times over the limit. Fails if the comparison is gone.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check dagster-webserver==1.13.27 matplotlib==3.11.2
site=$("$folder/venv/bin/python" -c "import dagster_webserver, os; print(os.path.dirname(dagster_webserver.__file__))")
grep -rhoE "mdStr\.length<1e3.{0,40}" "$site/webapp/build" | sort -u | tee "$folder/seen"
test -s "$folder/seen" || { echo "changed: no limit of 1,000 characters in the bundle"; exit 1; }
"$folder/venv/bin/python" - <<'PY'
import base64
import io

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(6, 2))
axes.plot([1, 3, 2, 5, 4], color="navy")
axes.plot([2, 2, 3, 3, 5], color="gray")
picture = io.BytesIO()
figure.savefig(picture, format="png", dpi=90)
characters = len(base64.b64encode(picture.getvalue()))
print("characters of a PNG of two lines:", characters)
assert characters > 5_000, "changed: the picture fits"
PY
