# The vocabulary of the project: what people type is what CI runs.

PYTHON ?= python3
BIN := .venv/bin
CHOSEN := $(shell cat .venv/lock 2>/dev/null)
LOCK ?= $(or $(CHOSEN),requirements.lock)
RECIPE ?= $(if $(DATA)$(ENCODER),knbc,sample)
DATA ?=
ENCODER ?=
TESTS_AT_ONCE ?= 2

.PHONY: help setup another-lock retrain up status down deploy test coverage test-slow test-servers test-kill test-attack test-mutants test-gpu docs site lint format lock audit sbom peers bench clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-10s %s\n", $$1, $$2 }'

setup: .venv/installed ## make the environment in .venv (for a GPU: LOCK=requirements-gpu.lock)

# .venv/lock holds the name of the lock that was installed: it stays the default, and another is installed.
.venv/installed: $(LOCK) pyproject.toml $(if $(filter-out $(CHOSEN),$(LOCK)),another-lock)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "jabert needs Python 3.11, 3.12 or 3.13, not $$($(PYTHON) --version 2>&1); name one: make setup PYTHON=python3.12" >&2; exit 1; }
	@test -x $(BIN)/python && test -x $(BIN)/pip || $(PYTHON) -m venv --clear .venv
	@rm -f $@ && echo '$(LOCK)' > .venv/lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $(LOCK)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

retrain: setup ## train, register, promote; alone: on the sample; or DATA=… ENCODER=… [RECIPE=knbc]
	$(BIN)/jabert retrain --recipe '$(RECIPE)' $(if $(DATA),--set 'data.path=$(DATA)') $(if $(ENCODER),--set 'encoder.path=$(ENCODER)')

up: setup ## one host: Prefect, MLflow, a worker, the deployments; settings in deploy/host.py
	$(BIN)/python -m deploy.host up

status: setup ## what of it runs and answers
	$(BIN)/python -m deploy.host status

down: setup ## stop all of it, the worker first
	$(BIN)/python -m deploy.host down

deploy: setup ## put prefect.yaml's deployments and the automations on the server at PREFECT_API_URL
	$(BIN)/python -m deploy.deployments

QUICK = $(BIN)/python -m pytest -n $(TESTS_AT_ONCE) --dist loadfile --max-worker-restart 0 \
	-m "not slow and not gpu and not servers and not kills and not attack"
# Counting lines takes Python 3.11 up to half as long again, so `make test` does it where little is computed. The
# floor is just under what these tests reach, in % of all lines.
COUNTED = tests/data $(patsubst %,tests/code/test_%.py,batcher calibration choice config damaged_encoders diff \
	encoder_folder evaluation files gate held hugging_face leaks lock moves predicting protocol signing smoke \
	store versions)
FLOOR = 56

test: setup ## the tests, without the slow ones; TESTS_AT_ONCE=4 takes 5 GB each
	$(QUICK) $(addprefix --ignore=,$(COUNTED))
	$(QUICK) --cov --cov-report= --cov-fail-under=$(FLOOR) $(COUNTED)

coverage: setup ## the same, with the lines counted that all of them reach
	$(QUICK) --cov --cov-report=

test-slow: setup ## the tests that take minutes
	$(BIN)/python -m pytest -m slow

test-servers: setup ## the tests on real servers: PostgreSQL, MLflow, Prefect, workers
	$(BIN)/python -m pytest -m servers

test-kill: setup ## thirty random kill -9 of a flow or its worker, half an hour
	$(BIN)/python -m pytest -m kills -s

test-attack: setup ## thousands of hostile and damaged inputs, loopback only: what was tried, what got through
	$(BIN)/python -m pytest -m attack -s

test-mutants: setup ## break gate, registry, batching, bounds and store in each small way: the share that tests notice, what survives
	$(BIN)/python -m mutmut run
	$(BIN)/python tests/mutants.py

test-gpu: setup ## the tests that need a GPU
	$(BIN)/python -m pytest -m gpu

docs: setup ## fill the generated parts of the documentation
	$(BIN)/python docs/generate.py

site: setup ## the documentation as a site, in site/; `python -m http.server -d site` shows it, search included
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

lint: setup ## ruff and mypy --strict
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: setup ## let ruff put the code in form
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --group dev --generate-hashes \
	--no-emit-index-url --no-header --no-annotate pyproject.toml

lock: setup ## remake the locks from pyproject.toml, with the newest versions that it allows
	$(COMPILE) --upgrade --output-file requirements.lock
	cp requirements.lock requirements-gpu.lock
	$(COMPILE) --extra gpu --output-file requirements-gpu.lock

audit: .venv-audit/installed ## look up known vulnerabilities of what is in the lock; needs the network
	@.venv-audit/bin/pip-audit --progress-spinner off --disable-pip --require-hashes --requirement $(LOCK) || \
		{ echo "if the list of vulnerabilities could not be reached, nothing was audited: run \`make audit' where it can be, or give \`make sbom' to a scanner with a list of its own" >&2; exit 1; }

.venv-audit/installed:
	test -x .venv-audit/bin/pip || $(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.9,<3'
	@touch $@

sbom: setup ## what is in the lock, as CycloneDX, in sbom.json
	$(BIN)/python -m deploy.sbom $(LOCK) > sbom.json

peers: .venv-peers/installed ## what the benchmarks compare with, in .venv-peers

# Where pip takes PyTorch for a GPU, choose its CPU build: PIP_EXTRA_INDEX_URL, as pytorch.org says.
.venv-peers/installed: benchmarks/peers.txt
	test -x .venv-peers/bin/pip || $(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

CORPUS = $(if $(DATA),'$(DATA)') $(if $(ENCODER),'$(ENCODER)')

bench: setup peers ## all benchmarks, half an hour: make bench DATA=… ENCODER=…
	$(BIN)/python benchmarks/forward.py $(CORPUS)
	$(BIN)/python benchmarks/forward.py --bert-base $(CORPUS)
	$(BIN)/python benchmarks/features.py $(CORPUS)
	$(BIN)/python benchmarks/bi_lstm.py $(CORPUS)
	$(BIN)/python benchmarks/finetune.py $(CORPUS)
	$(BIN)/python benchmarks/bars.py
	$(BIN)/python benchmarks/quality.py $(CORPUS)

clean: ## remove the environment and caches, never runs, models or features
	rm -rf .venv .venv-audit sbom.json .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis dist site
