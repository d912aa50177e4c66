# demo, test and ui are what a user runs; README.md says what they show.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export DAGSTER_HOME ?= $(CURDIR)/dagster_home
export PYTHONWARNINGS ?= ignore::FutureWarning,ignore::DeprecationWarning
DAGSTER_PORT ?= 3000
MLFLOW_PORT ?= 5000
SERVICE_PORT ?= 8005
export MLFLOW_UI_URL ?= http://127.0.0.1:$(MLFLOW_PORT)
SOAK ?= quantum_training_tests

.PHONY: demo test test-long soak coverage lint bench ui dagster-ui webserver daemon mlflow-ui service constraints

demo ui dagster-ui webserver daemon service: export QUANTUM_TRAINING_SERVICE__URL ?= http://127.0.0.1:$(SERVICE_PORT)
demo ui dagster-ui webserver daemon service: export QUANTUM_TRAINING_CONFIG ?= $(CURDIR)/dagster_home/demo_settings.yaml

demo: export LOG_LEVEL ?= ERROR
demo: $(VENV)/run
	@$(BIN)/dagster job execute -m quantum_training.definitions -j clm_cycle -c dagster_home/demo.yaml
	@echo
	@echo "'make ui' shows all of it. Click first:"
	@echo "  http://127.0.0.1:$(SERVICE_PORT)   the dashboard: all symbols, and the evidence of each in pictures"
	@echo "  http://127.0.0.1:$(DAGSTER_PORT)/assets/week_report   the week on one page; its lineage leads to everything else"
	@echo "  $(MLFLOW_UI_URL)/#/models   the versions of each symbol, to compare"

test: $(VENV)/dev
	$(BIN)/python -m pytest -n 2 --dist worksteal --durations=15

test-long: $(VENV)/dev
	$(BIN)/python -m pytest -m 'long and not soak' -n 2 --dist worksteal --durations=15

soak: $(VENV)/dev
	$(BIN)/python -m pytest -m soak -n 2 --dist worksteal --durations=0 $(SOAK)

coverage: $(VENV)/dev
	$(BIN)/python -m pytest -m 'not soak' -n 2 --dist worksteal --cov=quantum_training --cov-report=term

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	git ls-files -z | xargs -0 -n 80 -P 2 $(BIN)/detect-secrets-hook
	$(BIN)/python .ci/audit.py

bench: $(VENV)/dev
	$(BIN)/python -m quantum_training_tests.benchmarks.simulator
	$(BIN)/python -m quantum_training_tests.benchmarks.metrics
	$(BIN)/python -m quantum_training_tests.benchmarks.environment
	$(BIN)/python -m quantum_training_tests.benchmarks.weekly_cycle
	$(BIN)/python -m quantum_training_tests.benchmarks.drift
	$(BIN)/python -m quantum_training_tests.benchmarks.large_files
	$(BIN)/python -m quantum_training_tests.benchmarks.sensors
	$(BIN)/python -m quantum_training_tests.benchmarks.zoo
	$(BIN)/python -m quantum_training_tests.benchmarks.alerts
	$(BIN)/python -m quantum_training_tests.benchmarks.scale
	$(BIN)/python -m quantum_training_tests.benchmarks.universe
	$(BIN)/python -m quantum_training_tests.benchmarks.housekeeping
	$(BIN)/python -m quantum_training_tests.benchmarks.quality_gate
	$(BIN)/python -m quantum_training_tests.benchmarks.viewers
	$(BIN)/python -m quantum_training_tests.benchmarks.search 40

ui: $(VENV)/run
	@$(MAKE) -j4 webserver daemon mlflow-ui service

dagster-ui: $(VENV)/run
	@$(MAKE) -j2 webserver daemon

webserver: $(VENV)/run
	$(BIN)/dagster-webserver -w workspace.yaml -h 127.0.0.1 -p $(DAGSTER_PORT)

daemon: $(VENV)/run
	$(BIN)/dagster-daemon run -w workspace.yaml

mlflow-ui: $(VENV)/run
	mkdir -p $(DAGSTER_HOME)/mlflow
	MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(BIN)/mlflow ui --backend-store-uri sqlite:///$(DAGSTER_HOME)/mlflow/mlflow.db --host 127.0.0.1 --port $(MLFLOW_PORT) --workers 1

service: export QUANTUM_TRAINING_SERVICE__DAGSTER_URL ?= http://127.0.0.1:$(DAGSTER_PORT)
service: export QUANTUM_TRAINING_ALERTS__UI_URL ?= http://127.0.0.1:$(DAGSTER_PORT)
service: $(VENV)/run
	$(BIN)/python -m quantum_training.service --host 127.0.0.1 --port $(SERVICE_PORT)

$(VENV)/run: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e '.[ui,service,xgboost]'
	@touch $@

$(VENV)/dev: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e '.[ui,dev]'
	@touch $@ $(VENV)/run

constraints:  ## resolve every dependency anew
	rm -rf .venv-resolve && $(PYTHON) -m venv .venv-resolve
	.venv-resolve/bin/pip install --quiet --disable-pip-version-check -e '.[ui,dev]'
	.venv-resolve/bin/pip freeze --exclude-editable | sed 's/+cpu$$//' > constraints.txt
	rm -rf .venv-resolve
