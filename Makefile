# `make` alone prints this help.

.DEFAULT_GOAL := help
SHELL := /bin/bash
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export DVC_NO_ANALYTICS := 1

.PHONY: help repro check verify test test-fast lint format dag schema lock environment clean

help:  ## Print this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

repro: environment  ## Run the pipeline: what changed since the last run, and nothing else
	dvc repro

check: environment  ## Fail when anything in Git is stale: parameters, code, data, dvc.lock, metrics (seconds)
	python -m stages check

verify: environment  ## Run the pipeline again from nothing and compare every output with dvc.lock
	python -m stages verify

test: environment lint  ## Run every test that needs no GPU (about 12 minutes on two cores)
	python -m pytest -m "not gpu" --numprocesses 2 --dist loadscope

test-fast: environment  ## Run the unit tests (seconds)
	python -m pytest

lint: environment  ## Check style
	ruff check .
	ruff format --check .

format: environment  ## Apply style
	ruff check --fix .
	ruff format .

dag: environment  ## Draw the pipeline in README.md
	python -m stages draw_dag

schema: environment  ## Write the JSON schema of params.yaml
	python -m stages.core.params > configs/params.schema.json

# pip checks every hash of the lock; --no-deps, as the lock is the whole tree (see tool.uv in pyproject.toml)
environment:
	@cmp -s requirements.lock $(VENV)/requirements.lock || { set -e; \
	  python=$$(bash .ci/find-python); \
	  echo "installing requirements.lock into $(VENV) with $$python (about 6 GB with torch's CUDA libraries)"; \
	  "$$python" -m venv --clear $(VENV); \
	  $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock; \
	  cp requirements.lock $(VENV)/requirements.lock; }

lock: environment  ## Resolve pyproject.toml again into requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --group dev --upgrade pyproject.toml --output-file requirements.lock

clean:  ## Delete derived files (no output of DVC, no data)
	rm -rf .work .pytest_cache .ruff_cache dvc_plots
