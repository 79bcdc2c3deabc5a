# Every target builds the environment it needs: no step comes before `make demo` or `make test`.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Any Python from 3.11 on that can make a virtual environment; `make PYTHON=/path/to/python test` picks another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)

DEV := .venv
DEMO := .venv-demo
RIVALS := .venv-rivals
BIN := $(DEV)/bin
PIP := -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --constraint constraints.txt
PACKAGES := corpora models nlp_service
SOURCES := $(shell find $(PACKAGES) -type f -not -name '*.pyc')
# The version against which the rival benchmark is reported.
MEDSPACY := medspacy==1.3.1 pyarrow==21.0.0

.PHONY: help setup demo test lint format typecheck imports lean corpus bench-text bench-bert bench-retrain bench-rivals train-text docs constraints clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

setup: $(DEV)/.installed ## make the development environment in .venv

demo: $(DEMO)/.installed ## install the lean core apart, label the demo reports, show what was read
	@$(DEMO)/bin/radlabel demo --output build/demo

test: lint typecheck imports corpus ## check everything: lint, types, imports, lean install, corpora, tests
	@$(BIN)/pytest

lint: setup ## ruff: rules and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: setup ## ruff: mend what can be mended
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

typecheck: setup ## mypy, strict, tests too
	@$(BIN)/mypy

imports: setup ## import-linter: corpora <- models <- nlp_service
	@$(BIN)/lint-imports

lean: setup ## the lean install alone: built as the Dockerfile builds it, run without torch
	@$(BIN)/pytest tests/test_lean_install.py

corpus: setup ## fetch the public corpora once, into the user's cache folder
	@$(BIN)/radlabel corpus fetch openi >/dev/null
	@$(BIN)/radlabel corpus fetch padchest >/dev/null

bench-text: corpus ## speed, memory and cache of the labeler
	@$(BIN)/python -m tests.benchmarks.bench_text --json build/bench-text.json

bench-bert: corpus ## radlabel and a BERT-base labeler side by side, end to end
	@$(BIN)/python -m tests.benchmarks.bench_bert --json build/bench-bert.json

bench-retrain: setup ## what 500 labelled reports of a site with habits of its own are worth
	@$(BIN)/python -m tests.benchmarks.bench_retrain --json build/bench-retrain.json

train-text: corpus ## make the shipped encoder anew, in build/encoder (2 cores: hours; a stopped run goes on)
	@$(BIN)/radlabel text train --base scratch --output build/encoder

bench-rivals: corpus $(RIVALS)/.installed ## radlabel and medspaCy side by side, same reports, same vocabulary
	@$(BIN)/python -m tests.benchmarks.bench_rivals --rival-python $(RIVALS)/bin/python --json build/bench-rivals.json

docs: setup ## write the generated pages again: docs/cli.md, docs/label-semantics.md
	@$(BIN)/python -m docs.generate

constraints: ## resolve the newest versions of core, train extra and development tools into constraints.txt
	@rm -rf build/constraints
	@$(PYTHON) -m venv build/constraints
	@build/constraints/bin/python $(PIP) install --quiet --editable '.[dev]'
	@{ grep '^#' constraints.txt; build/constraints/bin/python $(PIP) freeze --exclude-editable | grep -v '^torch=='; } > build/constraints.txt
	@mv build/constraints.txt constraints.txt

clean: ## remove environments, build outputs and tool caches
	@rm -rf .venv .venv-demo .venv-rivals build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(DEV)/.installed: pyproject.toml constraints.txt
	@$(call make_environment,$(DEV))
	@$(BIN)/python $(INSTALL) --editable '.[dev]'
	@touch $@

$(DEMO)/.installed: pyproject.toml constraints.txt $(SOURCES)
	@$(call make_environment,$(DEMO))
	@$(DEMO)/bin/python $(INSTALL) .
	@touch $@

# medSpaCy needs an older spaCy than radlabel: it gets an environment of its own, without our constraints.
$(RIVALS)/.installed:
	@$(call make_environment,$(RIVALS))
	@$(RIVALS)/bin/python $(PIP) install --quiet $(MEDSPACY)
	@touch $@

define make_environment
if [ -z "$(PYTHON)" ]; then \
	echo "radlabel needs Python 3.11 or newer with the modules venv and ensurepip, and none was found." >&2; \
	echo "On Debian and Ubuntu: apt-get install -y python3-venv. Elsewhere: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; \
	exit 2; \
fi; \
[ -x $(1)/bin/python ] || { echo "making the environment $(1) (once)"; $(PYTHON) -m venv $(1); }
endef
