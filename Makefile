# `make demo` shows taut at work; `make test` runs everything. Both set up what they need first and say what they do.

.DEFAULT_GOAL := help
SHELL := bash
PYTHON := .venv/bin/python
export UV_PYTHON_DOWNLOADS := never

# Further arguments, as in `make test ARGS="-k health"`.
ARGS ?=

.PHONY: help setup setup-plane setup-tests demo test lint format conformance faults fuzz bench bench-targets bench-page bench-compare bench-profile schemas docs screenshots clean

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

setup: ## Make the Python environment.
	@.ci/setup

setup-plane:
	@.ci/setup --plane

setup-tests:
	@.ci/setup --tests

demo: setup-plane ## Show taut at work on a real control plane; KEEP=1 leaves it running.
	@KEEP=$(KEEP) $(PYTHON) -m demo $(ARGS)

test: setup-tests ## Run the tests (all but those of `make faults`); ARGS="-k name" chooses.
	@echo "test: pytest in two processes, each with a control plane of its own" >&2
	@.venv/bin/pytest -n 2 --dist worksteal -m "not faults" $(ARGS)

lint: setup ## Check style and types.
	@echo "lint: ruff check" >&2; .venv/bin/ruff check .
	@echo "lint: ruff format --check" >&2; .venv/bin/ruff format --check --quiet .
	@echo "lint: basedpyright" >&2; .venv/bin/basedpyright

format: setup ## Format the code, and mend what can be mended.
	@.venv/bin/ruff check --fix --quiet . ; .venv/bin/ruff format .

conformance: setup ## Compare health and policies with the peers' cases.
	@$(PYTHON) tests/conformance $(ARGS)

faults: setup-tests ## Faults, attacks and fuzzing at full length.
	@.venv/bin/pytest -n 2 --dist worksteal -m faults $(ARGS)

fuzz: setup ## Coverage-guided fuzzing of the parsers; ARGS="yaml --seconds 600".
	@uv=.cache/uv/bin/uv; [ -x $$uv ] || uv=uv; $$uv pip install --quiet --python $(PYTHON) --group fuzz
	@$(PYTHON) tests/fuzz/drive.py $(ARGS)

bench: setup-plane ## Measure taut beside the floor of this machine; ARGS="--sizes 100,500" chooses.
	@$(PYTHON) -m bench run $(ARGS)

bench-targets: setup-plane ## Hold taut against its targets (about 40 minutes); FROM=FILE takes a result that is there.
	@$(PYTHON) -m bench targets $(if $(FROM),--from $(FROM)) $(ARGS)

bench-page: setup ## What the page costs at 5,000 applications.
	@$(PYTHON) -m bench page $(ARGS)

bench-compare: setup ## Two results side by side: make bench-compare OLD=FILE NEW=FILE.
	@$(PYTHON) -m bench compare $(OLD) $(NEW)

bench-profile: setup-plane ## What a cold sync of 500 applications spends its time on.
	@uv=.cache/uv/bin/uv; [ -x $$uv ] || uv=uv; $$uv pip install --quiet --python $(PYTHON) --group bench
	@$(PYTHON) -m bench profile 500

schemas: setup-plane ## Keep the kinds and fields of the control plane, for checks without a cluster.
	@$(PYTHON) -m tests.support.kept_schemas
	@PYTHONPATH=tests $(PYTHON) -m tests.support.kept_shapes

docs: setup ## Generate the reference pages.
	@$(PYTHON) -m docs $(ARGS)

screenshots: setup-tests ## Take the pictures of the page that docs/page.md shows.
	@PYTHONPATH=tests $(PYTHON) -m browser.pictures

clean: ## Remove what was made here; the built control plane stays in the user's cache.
	rm -rf .venv .bench .cache .pytest_cache .ruff_cache .hypothesis build dist .demo
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
