# `make` alone prints the help.

ifeq ($(OS),Windows_NT)
$(error This project needs Linux or macOS, and this is Windows. Run `wsl --install`, clone the project inside \
  the Linux file system of WSL2, and run make there)
endif

.DEFAULT_GOAL := help
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export DVC_NO_ANALYTICS := 1

.PHONY: help repro check verify test test-fast lint format dag schema lock environment clean

help:  ## Print this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{ printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

repro: environment  ## Run the stages that a change affects, and no others
	dvc repro

check: environment  ## Fail if parameters, code, data, dvc.lock or metrics in Git are stale (seconds)
	python -m stages check

verify: environment  ## Run the pipeline again from nothing and compare every output with dvc.lock
	python -m stages verify

test: environment lint  ## Run every test that needs no GPU (about 20 minutes on two cores)
	python -m pytest -m "not gpu" --numprocesses 2 --dist loadscope --no-loadscope-reorder

test-fast: environment  ## Run the fast tests (about a minute)
	python -m pytest --numprocesses 2 --dist loadscope --no-loadscope-reorder

lint: environment  ## Check the style
	ruff check .
	ruff format --check .

format: environment  ## Apply the style
	ruff check --fix .
	ruff format .

dag: environment  ## Draw the pipeline in README.md
	python -m stages draw_dag

schema: environment  ## Write the JSON schema of params.yaml
	python -m stages.core.params > configs/params.schema.json

# pip checks every hash in the lock. --no-deps: the lock lists the whole tree (see tool.uv in pyproject.toml).
environment:
	@cmp -s requirements.lock $(VENV)/requirements.lock || { set -e; \
	  python=$$(sh .ci/find-python); \
	  echo "installing requirements.lock into $(VENV) with $$python: about 6 GB, a few minutes"; \
	  "$$python" -m venv --clear $(VENV); \
	  $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock; \
	  cp requirements.lock $(VENV)/requirements.lock; }

lock: environment  ## Resolve pyproject.toml into requirements.lock again
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --group dev --upgrade pyproject.toml --output-file requirements.lock

clean:  ## Delete derived files, such as interrupted runs; keep data and outputs
	rm -rf .work .pytest_cache .ruff_cache dvc_plots
