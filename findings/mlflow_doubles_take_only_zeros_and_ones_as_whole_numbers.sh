#!/usr/bin/env bash
# MLflow 3.17.2: a signature column of type double takes int64 as long as every value is 0, 1 or null, and refuses the
# same column once a 2 is in it ("Can not safely convert int64 to float64"). float32 and pandas' Float64 are taken. A
# volume or a flag that happens to be 0 or 1 in a test passes, and the first real request fails. A frame whose floats all
# are whole arrives as int64 whenever it went through JSON without a point (JavaScript writes 100.0 as 100).
# Seen: [0, 1] is taken, [0, 2] is refused. Fails if both are taken or both are refused.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check mlflow-skinny==3.17.2 pandas
cat > "$folder/model.py" <<'PY'
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class Same(PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input


set_model(Same())
PY
cat > "$folder/ask.py" <<'PY'
import mlflow
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema

mlflow.pyfunc.save_model(
    "saved", python_model="model.py", pip_requirements=[], signature=ModelSignature(Schema([ColSpec("double", "x")]))
)
model = mlflow.pyfunc.load_model("saved")
for values, kind in (([0, 1], "int64"), ([0, 2], "int64"), ([0, 2], "float32"), ([0, 2], "Float64")):
    try:
        model.predict(pd.DataFrame({"x": pd.Series(values, dtype=kind)}))
        print(kind, values, "taken")
    except mlflow.exceptions.MlflowException as error:
        print(kind, values, "refused:", str(error).rpartition("Error: ")[2][:90])
PY
cd "$folder"
MLFLOW_DISABLE_TELEMETRY=true venv/bin/python ask.py 2>/dev/null | tee answers
grep -q "int64 \[0, 1\] taken" answers && grep -q "int64 \[0, 2\] refused" answers || { echo "changed: see above"; exit 1; }
echo "as found: whole numbers are taken only while all of them are 0 or 1"
