# Commands for development and the demo. `make help` lists them.
PYTHON ?= python3
SOURCE ?=
CLASSES ?=
OUTPUT ?= runs/demo
JOBS ?= 2
VENV ?= .venv
PY := $(VENV)/bin/python
BUILD = $(if $(REGISTRY),--registry "$(REGISTRY)") $(if $(filter 1,$(PUSH)),--push) \
  $(if $(ENGINE),--engine "$(ENGINE)") $(if $(BASE_IMAGE),--base-image "$(BASE_IMAGE)") \
  $(if $(FRAMEWORK),--framework "$(FRAMEWORK)") $(if $(ACCELERATOR),--accelerator "$(ACCELERATOR)") \
  $(if $(OPTIONS),--options="$(OPTIONS)")

.DEFAULT_GOAL := help
.PHONY: help setup demo record test check slow lint types manifests images test-images other-python lock clean

help:  ## List the commands.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.ready  ## Make .venv from the lock file; PYTHON=python3.13 for another Python than python3.

$(VENV)/.ready: locks/dev.txt locks/uv.txt pyproject.toml
	@sh locks/install.sh "$(PYTHON)" "$(VENV)"
	@touch $@

demo: setup  ## Run the whole pipeline on phantom images, or on SOURCE=folder CLASSES=negative,positive.
	@$(PY) -m pipelines local --preset demo --output "$(OUTPUT)" $(if $(SOURCE),--source "$(SOURCE)",--phantom) $(if $(CLASSES),--classes "$(CLASSES)")

record: setup  ## Run the demo, unless OUTPUT holds it, and write its figures and picture into README and docs.
	$(PY) docs/record.py "$(OUTPUT)"

test: setup  ## Run the tests, JOBS=2 files in parallel.
	$(PY) -m pytest -n $(JOBS) --dist loadfile -m "not slow and not pipeline"

check: lint types test manifests  ## Run what CI runs.
	$(PY) -m pytest -m "pipeline and not slow"

slow: setup  ## Run the slow tests: preemptions, simulations and experiments.
	$(PY) -m pytest -m "slow and not containers"

lint: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: setup
	$(PY) -m mypy regan components pipelines images

manifests: setup  ## Compare the committed YAML with a new compilation.
	$(PY) -m pipelines compile --check

images:  ## Build the container images; REGISTRY=... PUSH=1 pushes them (options: images/README.md).
	@$(PYTHON) images/build.py $(BUILD)

test-images: setup  ## Compare the demo in containers with the same in processes; FULL=1 for the complete demo.
	REGAN_FULL_DEMO=$(FULL) $(PY) -m pytest -m containers

other-python:  ## Try each other Python from 3.11 to 3.13: imports, compilation, preparation; PYTHON=python3.13 for one.
	@.ci/other-python $(if $(filter command,$(firstword $(origin PYTHON))),"$(PYTHON)")

lock:  ## Update the lock files (needs uv).
	sh locks/compile.sh

clean:  ## Remove the files that these commands created.
	rm -rf .venv .cache runs build dist *.egg-info
