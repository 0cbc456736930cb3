# Every command of the project. Two are all a newcomer needs: make serve, make test.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet install -c constraints.txt

.DEFAULT_GOAL := help

help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; say PYTHON=/path/to/python3.11"; exit 1; }
	@echo "creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.serve: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing the gateway (a minute or two, once)"
	@$(PIP) -e '.[ort]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing the gateway, training and the test tools (a few minutes, once)"
	@$(PIP) -e '.[dev]'
	@touch $@ $(VENV)/.serve

setup: $(VENV)/.dev ## install everything into .venv

serve: $(VENV)/.serve ## start the gateway on 127.0.0.1:8000 with the shipped models
	@$(BIN)/discern serve

test: $(VENV)/.dev ## run the whole suite
	@$(BIN)/python -m pytest

quick: $(VENV)/.dev ## run the suite without its slow part
	@$(BIN)/python -m pytest -m 'not slow and not triton'

docs: $(VENV)/.dev ## write the tables made from the code into the pages that show them
	@$(BIN)/python docs/generate.py

pictures: $(VENV)/.dev ## draw the pages' pictures again, from generated images (needs Chromium)
	@$(BIN)/python -m docs.draw_methods
	@$(BIN)/python -m docs.draw_convergence
	@$(BIN)/python -m docs.draw_pictures

prometheus-install: $(VENV)/.dev ## fetch Debian's Prometheus into .prometheus/ for the monitoring tests (20 MB, once)
	@$(BIN)/python -m tests.monitoring.install

redis-install: $(VENV)/.dev ## fetch Debian's Redis into .redis/ for the tests of shared jobs and quotas (2 MB, once)
	@$(BIN)/python -m tests.redis_server.install

dashboards: $(VENV)/.dev ## write the Grafana dashboards from their source
	@$(BIN)/python monitoring/grafana/make_dashboards.py

triton-install: $(VENV)/.dev ## fetch a Triton server for this machine's CPU into .triton/ (55 MB, once)
	@$(BIN)/python -m tests.triton_server.install

triton: triton-install ## start Triton on 127.0.0.1:18001 with the shipped models
	@$(BIN)/python -m tests.triton_server.server model_repository

browser-install: ## install Chromium and Node for the tests of the web page (Debian, as root)
	@for tool in chromium chromedriver node; do command -v $$tool >/dev/null || missing=1; done; \
	[ -z "$$missing" ] || { apt-get -qq update && apt-get -qq install -y --no-install-recommends chromium chromium-driver nodejs >/dev/null; }

contract: triton-install ## run the contract suite against the embedded backend and the real Triton
	@$(BIN)/python -m pytest tests/contract

chaos: triton-install redis-install ## do what goes wrong on a bad day to a real gateway, and note how it fared (10 minutes)
	@$(BIN)/python -m tests.chaos --write
	@FUZZ_EXAMPLES=600 $(BIN)/python -m pytest tests/fuzz --timeout 3600

soak: $(VENV)/.dev ## ask good and bad things for a long time and watch the memory
	@$(BIN)/python -m tests.chaos soak --seconds 3600 --write

coverage: $(VENV)/.dev ## run the suite and report coverage
	@$(BIN)/python -m pytest --cov --cov-report=term

bench: $(VENV)/.dev ## time the kernels beside other ways, into docs/BENCHMARKS.md (some minutes)
	@$(BIN)/python -m benchmarks.bench

fmt: $(VENV)/.dev ## format the code
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .

lint: $(VENV)/.dev type ## check style, types and the import rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports

type: $(VENV)/.dev ## check types
	@$(BIN)/mypy

PROFILE ?= cpu

image: ## build the gateway's image
	@docker build --tag discern:0.1.0 .

up: ## start gateway, Triton, Prometheus and Grafana (PROFILE=cpu, gpu or embedded)
	@docker compose --profile $(PROFILE) up --build --wait

down: ## stop what up started
	@docker compose --profile '*' down

$(VENV)/.release: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing the release tools"
	@$(PIP) -e '.[release]'
	@touch $@

release: $(VENV)/.release ## write wheel, source archive, models, SBOM, changelog and checksums to dist/
	@$(BIN)/python -m release.build

audit: $(VENV)/.release ## ask PyPI about known vulnerabilities of every pinned version
	@$(BIN)/pip-audit --strict --no-deps --disable-pip --requirement constraints.txt

manifests: $(VENV)/.dev ## write the generated parts of k8s/
	@$(BIN)/python release/generate.py

clean: ## remove what the tools left behind, .venv included
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage htmlcov build dist *.egg-info


.PHONY: help bench setup serve test quick chaos soak browser-install docs pictures dashboards prometheus-install redis-install triton-install triton contract coverage fmt lint type image up down release audit manifests clean
