# Needs git and Python 3.10-3.13. Every target makes what it depends on.
# PYTHON=/path/to/python3.11 names the Python; without it, it is the first of these that will do.
PYTHON ?=
PYTHONS := python3.13 python3.12 python3.11 python3.10 python3
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
OLDEST_TESTS ?= tests

# Debian 13 is made in this folder, and stays there.
DEBIAN ?= /tmp/structvae-debian
DEBIAN_TESTS ?= tests/distributions/test_linalg.py tests/distributions/test_low_rank_normal.py tests/layers/test_layers.py tests/models/test_vae.py \
    tests/export/test_export.py tests/export/test_export_signatures.py tests/export/test_demo.py

# Mutants of each module.
LIMIT ?= 25
MODULES ?=

.PHONY: train compare demo install edit test test-all test-browser test-benchmark test-oldest test-debian chromium coverage mutation all-checks \
    docs notebooks check format public-api constraints-oldest clean

train: $(VENV)/.installed
	$(TRAIN) --config configs/avatars.py --workdir $(RUNS)/avatars --resume_if_any

compare: train
	$(TRAIN) --config configs/avatars_standard.py --workdir $(RUNS)/avatars_standard --resume_if_any
	$(BIN)/python bin/compare --workdir $(RUNS)/avatars --workdir $(RUNS)/avatars_standard

# What the demonstration model in saved_models can do, as pictures in runs/demo.
demo: $(VENV)/.installed
	$(BIN)/python bin/demo --output=$(RUNS)/demo

# The environment for programs of your own.
install: $(VENV)/.installed-data

# The editor in the browser, of the demonstration model.
edit: $(VENV)/.installed-editor
	$(BIN)/python bin/edit

test: $(VENV)/.installed-test chromium
	$(PYTEST)

test-all: $(VENV)/.installed-test chromium
	$(PYTEST) -m ""

test-browser: $(VENV)/.installed-test chromium
	$(BIN)/python -m pytest -q -m "" tests/serving/editor

# The editor is tested in a headless Chromium: installed by apt where there is none and that may be done.
chromium:
	@if [ -z "$$CHROMIUM" ] && ! command -v chromium && ! command -v chromium-browser && ! command -v google-chrome; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get; then \
	    apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends chromium fonts-dejavu-core; \
	  else false; fi || echo "No Chromium could be installed: the tests of the editor's page are skipped."; fi

# The site, in site/: open site/index.html. A warning is an error.
docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --clean

# The benchmarks beside PyTorch, which is large.
test-benchmark: $(VENV)/.installed-benchmark
	$(BIN)/python -m pytest -q tests/benchmarks

test-oldest: $(OLDEST_VENV)/.installed chromium
	$(OLDEST_VENV)/bin/python -m pytest -q -n auto --maxprocesses=4 --dist=loadfile $(OLDEST_TESTS)

# The smoke run and some tests on Debian 13's own Python, 3.13. Needs root, apt and 5 GB.
test-debian:
	sh tests/debian.sh $(DEBIAN) $(DEBIAN_TESTS)

# Lines of the package that the quick suite runs; TESTS="tests/models/test_vae.py ..." takes some of it.
coverage: $(VENV)/.installed-test
	$(PYTEST) --cov --cov-report= $(TESTS)
	$(BIN)/python -m coverage report

# Which small changes of the code that trains, exports and conditions do the tests notice? An hour and more;
# MODULES="models/constraints" tests some, LIMIT=0 all changes of each. A run that was stopped goes on.
mutation: $(VENV)/.installed-mutation
	$(BIN)/python tests/mutation.py --limit=$(LIMIT) $(MODULES)

# Everything that a change must pass, in the order of what fails soonest.
all-checks: check docs test

public-api: $(VENV)/.installed-test
	$(BIN)/python tests/api_listing.py

# The lowest releases that setup.py allows, resolved for Python 3.10. Asks the package index.
constraints-oldest: $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/python -m uv pip compile --quiet --upgrade --resolution=lowest-direct --python-version=3.10 \
	  --no-annotate --no-header --extra=test setup.py --output-file=tests/constraints-oldest.txt

# Executes docs/notebooks in place, pictures and all: about ten minutes.
notebooks: $(VENV)/.installed-test
	$(BIN)/python tests/notebooks.py

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Ends with a reason why a Python cannot make the environment. A shim of pyenv may run none at all.
define REASON
import sys
found = "%d.%d" % sys.version_info[:2]
if not (3, 10) <= sys.version_info[:2] <= (3, 13):
    sys.exit("it is Python " + found)
try:
    import ensurepip, venv
except ImportError:
    sys.exit("it cannot make environments; on Debian, apt install python%s-venv" % found)
endef
export REASON

$(VENV)/bin/python:
	@chosen=; seen=; \
	for python in $(or $(PYTHON),$(PYTHONS)); do \
	  command -v "$$python" >/dev/null || continue; \
	  if reason=$$("$$python" -c "$$REASON" 2>&1); then chosen=$$python; break; fi; \
	  seen="$${seen:+$$seen; }$$python: $$(echo "$$reason" | head -n 1)"; \
	done; \
	if [ -z "$$chosen" ]; then \
	  echo "error: Python 3.10 to 3.13 with venv is needed. Found: $${seen:-none}." >&2; \
	  echo "make PYTHON=/path/to/python3.11 names another." >&2; exit 1; \
	fi; \
	echo "Making the environment $(VENV) with $$("$$chosen" --version), $$chosen."; \
	"$$chosen" -m venv $(VENV)

$(VENV)/.installed: setup.py $(VENV)/bin/python
	@echo "Installing TensorFlow and what else is needed into $(VENV): 2.6 GB, one to three minutes without a word."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@

$(VENV)/.installed-mutation: $(VENV)/.installed-test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[mutation]'
	@touch $@

$(VENV)/.installed-benchmark: $(VENV)/.installed-test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[benchmark]'
	@touch $@

$(VENV)/.installed-data: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[data]'
	@touch $@

$(VENV)/.installed-editor: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[editor]'
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
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
	rm -rf $(VENV) $(OLDEST_VENV) build dist site *.egg-info .pytest_cache .ruff_cache .mypy_cache
