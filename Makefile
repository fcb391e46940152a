# Everything runs from a virtual environment of its own; nothing but Python 3.11+ and make is needed.
#
#   make demo     a search on real CIFAR-10 images, its figure, and how to look at it in MLflow
#   make test     unit and integration tests; with MinIO's server where `minio` is in the PATH
#   make lint     format, lint, types, layers, workflows
#   make images   the four container images   (REGISTRY, TAG, BUILD)
#   make sbom     what the Python images hold, as CycloneDX: build/sbom/*.json
#   make e2e      tests in the cluster that KUBECONFIG names, with those images and image-own's loaded
#   make clean    remove the environment and the caches; never a search's results

PYTHON ?= python3
VENV ?= .venv
PIP_ARGS ?=
# Where pip takes torch from; empty: where it takes everything else from. See README, "torch".
TORCH_INDEX_URL ?=
SPEC ?= examples/cifar10.yaml
PYTEST_ARGS ?=
REGISTRY ?= localhost
TAG ?= $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' fednas/_version.py)
BUILD ?= docker build -t
IMAGES := operator runtime mlflow minio
MINIO_VERSION := v0.0.0-20260212201848-7aac2a2c5b7c
CYCLONEDX_VERSION := 7.5.0
CYCLONEDX := build/cyclonedx-$(CYCLONEDX_VERSION)

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet $(PIP_ARGS)
CONSTRAINED := -c constraints.txt
export OMP_NUM_THREADS := 1
export PATH := $(abspath $(BIN)):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help demo test lint images image-own image-list sbom e2e clean

help:
	@sed -n 's/^#   //p' Makefile

# --- the environment: one stamp per set of extras, so that a second call does nothing -----------

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "$(PYTHON) is older than 3.11; name another: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "On Debian: apt-get install python3-venv"; exit 1; }

$(VENV)/.torch: $(BIN)/python constraints.txt
	@echo "Installing torch into $(VENV) (once; the longest step) ..."
	@$(PIP) $(CONSTRAINED) $(if $(TORCH_INDEX_URL),--index-url $(TORCH_INDEX_URL)) torch
	@touch $@

$(VENV)/.run: $(VENV)/.torch pyproject.toml
	@echo "Installing fednas into $(VENV) ..."
	@$(PIP) $(CONSTRAINED) -e '.[train,tracking,s3]'
	@touch $@

$(VENV)/.dev: $(VENV)/.torch pyproject.toml
	@echo "Installing fednas and its development tools into $(VENV) ..."
	@$(PIP) $(CONSTRAINED) -e '.[dev]'
	@touch $@ $(VENV)/.run

# --- what a person calls ------------------------------------------------------------------------

demo: $(VENV)/.run
	@$(BIN)/fednas run $(SPEC)

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile $(PYTEST_ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@if command -v actionlint >/dev/null; then echo actionlint; actionlint; \
	  else echo "actionlint: not in the PATH, left out"; fi

images: $(IMAGES:%=image-%)

# $(BUILD) NAME:TAG . -f FILE: docker build -t, podman build -t, or a program of one's own.
image-%:
	$(BUILD) $(REGISTRY)/fednas-$*:$(TAG) . -f images/$*/Dockerfile $(BUILD_ARGS)

image-runtime: BUILD_ARGS = $(if $(TORCH_INDEX_URL),--build-arg TORCH_INDEX_URL=$(TORCH_INDEX_URL))

image-minio: build/minio

# MinIO publishes no binaries: the one in the PATH, or built from source by Go.
build/minio:
	@mkdir -p build
	@if command -v minio >/dev/null; then cp "$$(command -v minio)" $@; \
	  else CGO_ENABLED=0 GOBIN=$(abspath build) go install github.com/minio/minio@$(MINIO_VERSION); fi

# The runtime with a network and a strategy of one's own, for the tests in a cluster.
image-own: image-runtime
	$(BUILD) $(REGISTRY)/fednas-own:$(TAG) examples/own --build-arg RUNTIME=$(REGISTRY)/fednas-runtime:$(TAG)

image-list:
	@$(foreach name,$(IMAGES),echo $(REGISTRY)/fednas-$(name):$(TAG);)

# A bill of materials of each image that holds Python: the packages that pip puts there, from an environment made by the
# steps of its Dockerfile. Python, pip and Debian are the base image's, and in none.
SBOM_PIP = $(CYCLONEDX)/bin/python -m pip --disable-pip-version-check --quiet --python $(SBOM_ENV)/bin/python
SBOM_INSTALL = $(SBOM_PIP) install $(PIP_ARGS)
SBOM_ENV = build/sbom/$(@:sbom-%=%)
SBOM_WRITE = $(CYCLONEDX)/bin/cyclonedx-py environment --output-reproducible -o $(SBOM_ENV).json $(SBOM_ENV)/bin/python \
  && rm -r $(SBOM_ENV)

sbom: sbom-operator sbom-runtime sbom-mlflow

# In an environment of its own, so that it is in no bill.
$(CYCLONEDX)/bin/cyclonedx-py:
	@$(PYTHON) -m venv $(CYCLONEDX)
	@$(CYCLONEDX)/bin/python -m pip install --disable-pip-version-check --quiet $(PIP_ARGS) cyclonedx-bom==$(CYCLONEDX_VERSION)

sbom-%: $(CYCLONEDX)/bin/cyclonedx-py
	@$(PYTHON) -m venv --clear --without-pip $(SBOM_ENV)
	@$(PYTHON) images/requirements.py pyproject.toml \
	  $$(sed -n 's/^RUN python requirements.py pyproject.toml \(.*\) >.*/\1/p' images/$*/Dockerfile) > $(SBOM_ENV)/requirements.txt
	@if [ $* = runtime ]; then \
	  $(SBOM_INSTALL) $(CONSTRAINED) $(if $(TORCH_INDEX_URL),--index-url $(TORCH_INDEX_URL)) torch; fi
	@$(SBOM_INSTALL) $(CONSTRAINED) -r $(SBOM_ENV)/requirements.txt hatchling
	@$(SBOM_INSTALL) --no-deps --no-build-isolation .
	@$(SBOM_PIP) uninstall -y hatchling pathspec pluggy trove-classifiers
	@rm $(SBOM_ENV)/lib/python*/site-packages/fednas-*.dist-info/direct_url.json  # names this folder
	@$(SBOM_WRITE)

sbom-mlflow: $(CYCLONEDX)/bin/cyclonedx-py
	@$(PYTHON) -m venv --clear --without-pip $(SBOM_ENV)
	@$(SBOM_INSTALL) $(CONSTRAINED) mlflow
	@$(SBOM_WRITE)

e2e: $(VENV)/.dev
	$(BIN)/python -m pytest -m e2e tests/e2e $(PYTEST_ARGS)

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
