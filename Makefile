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

.PHONY: train compare edit test test-all test-browser chromium docs check format clean

train: $(VENV)/.installed
	$(TRAIN) --config configs/avatars.py --workdir $(RUNS)/avatars --resume

compare: train
	$(TRAIN) --config configs/avatars_standard.py --workdir $(RUNS)/avatars_standard --resume
	$(BIN)/python bin/compare --workdir $(RUNS)/avatars --workdir $(RUNS)/avatars_standard

# The editor in the browser, of the demonstration model.
edit: $(VENV)/.installed-editor
	$(BIN)/python bin/edit

test: $(VENV)/.installed-test chromium
	$(PYTEST)

test-all: $(VENV)/.installed-test chromium
	$(PYTEST) -m ""

test-browser: $(VENV)/.installed-test chromium
	$(BIN)/python -m pytest -q -m "" tests/editor

# The editor is tested in a headless Chromium: installed by apt where there is none and that may be done.
chromium:
	@if [ -z "$$CHROMIUM" ] && ! command -v chromium && ! command -v chromium-browser && ! command -v google-chrome; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get; then \
	    apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends chromium fonts-dejavu-core; \
	  else false; fi || echo "No Chromium could be installed: the tests of the editor's page are skipped."; fi

# The site, in site/: open site/index.html. A warning is an error.
docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --clean

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

$(VENV)/.installed-editor: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[editor]'
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) build dist site *.egg-info .pytest_cache .ruff_cache .mypy_cache
