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

.PHONY: train compare test test-all test-browser notebooks check format clean

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

# Executes docs/notebooks in place, pictures and all: about ten minutes.
notebooks: $(VENV)/.installed-test
	$(BIN)/python tests/notebooks.py

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

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache
