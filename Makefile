# Needs git and Python 3.10-3.12. Every target makes what it depends on.
PYTHON ?= python3
VENV ?= .venv
RUNS ?= runs
DATA ?= data
BIN := $(VENV)/bin
TRAIN = $(BIN)/python bin/train --config.data.dir=$(DATA)

# TensorFlow gains little from a second thread at these sizes, and all from a second process.
PYTEST = $(BIN)/python -m pytest -q -n auto --maxprocesses=4 --dist=loadfile

export TF_CPP_MIN_LOG_LEVEL ?= 2

# The oldest releases that setup.py allows need the oldest Python.
OLDEST_PYTHON ?= python3.10
OLDEST_VENV ?= .venv-oldest
OLDEST_TESTS ?= $(addprefix tests/test_,linalg.py low_rank_normal.py operations.py \
    tfp_consistency.py layers.py constraints.py vae.py fit.py networks.py training.py \
    checkpoints.py datasets.py pipeline.py export.py export_signatures.py serving_protocol.py \
    serving_http.py serving_models.py editor_server.py density.py frechet.py figures.py)

.PHONY: train compare test test-all test-browser test-oldest coverage all-checks check format \
    public-api constraints-oldest clean

train: $(VENV)/.installed
	$(TRAIN) --config configs/avatars.py --workdir $(RUNS)/avatars --resume

compare: train
	$(TRAIN) --config configs/avatars_standard.py --workdir $(RUNS)/avatars_standard --resume
	$(BIN)/python bin/compare --workdir $(RUNS)/avatars --workdir $(RUNS)/avatars_standard

test: $(VENV)/.installed-test
	$(PYTEST)

test-all: $(VENV)/.installed-test
	$(PYTEST) -m ""

# The editor in a headless Chromium, which is installed by apt where that may be done.
test-browser: $(VENV)/.installed-browser
	$(BIN)/python -m pytest -q -m "" tests/test_editor_server.py tests/test_editor_browser.py

test-oldest: $(OLDEST_VENV)/.installed
	$(OLDEST_VENV)/bin/python -m pytest -q -n auto --maxprocesses=4 --dist=loadfile $(OLDEST_TESTS)

# Lines of the package that the quick suite runs; TESTS="tests/test_vae.py ..." takes some of it.
coverage: $(VENV)/.installed-test
	$(PYTEST) --cov --cov-report= $(TESTS)
	$(BIN)/python -m coverage report

# Everything that a change must pass, in the order of what fails soonest.
all-checks: check docs-if-present test

.PHONY: docs-if-present
docs-if-present:
	@if grep -q '^docs:' $(firstword $(MAKEFILE_LIST)); then $(MAKE) docs; fi

public-api: $(VENV)/.installed-test
	$(BIN)/python tests/public_api.py

# The lowest releases that setup.py allows, resolved for Python 3.10. Asks the package index.
constraints-oldest: $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/python -m uv pip compile --quiet --resolution=lowest-direct --python-version=3.10 \
	  --no-annotate --no-header --extra=test setup.py --output-file=tests/constraints-oldest.txt

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 10) <= v <= (3, 12) else "Python 3.10-3.12 is needed, this is %d.%d: make PYTHON=python3.11" % v)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: setup.py $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@

$(VENV)/.installed-browser: $(VENV)/.installed-test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[browser]'
	command -v chromium || [ "$$(id -u)" != 0 ] || apt-get install -y -q chromium
	@touch $@

$(OLDEST_VENV)/.installed: setup.py tests/constraints-oldest.txt
	$(OLDEST_PYTHON) -m venv $(OLDEST_VENV)
	$(OLDEST_VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
	  --constraint=tests/constraints-oldest.txt -e '.[test]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) $(OLDEST_VENV) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache
