# `make serve` and `make test` need Python >= 3.11 and make; each sets up what else it needs, once.
PYTHON ?= python3
BIN := .venv/bin
PIP_INSTALL := install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help serve test properties pytriton check format protos sync clean

help: ## Show this list.
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

serve: .venv/.serve ## Serve the bundled models on 127.0.0.1:50051; more flags in ARGS="...".
	$(BIN)/gradserve serve --examples $(ARGS)

test: .venv/.dev .venv-protos/.installed .venv-tritonclient/.installed ## Run every test; select some with ARGS="-k ...".
	$(BIN)/python -m pytest $(ARGS)

properties: .venv/.dev ## Run the property tests in full, and count what they drew.
	$(BIN)/python -m pytest tests/properties --properties=full --timeout=0 $(ARGS)

pytriton: .venv/.dev .venv-tritonclient/.installed ## Install PyTriton, and hold the Open Inference Protocol against it.
	$(BIN)/python -m benchmarks.peers pytriton
	PYTRITON=required $(BIN)/python -m pytest tests/open_inference/test_tritonclient.py $(ARGS)

check: .venv/.dev ## Check style, types, architecture and protos.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint protos

format: .venv/.dev ## Set the code in its one format, and fix what can be fixed by machine.
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

protos: .venv-protos/.installed ## Regenerate the code of protos/.
	.venv-protos/bin/python protos/generate.py

sync: .venv/.dev ## Regenerate client/gradserve/_sync from client/gradserve/_async.
	$(BIN)/python client/generate.py

clean: ## Remove the environments and every cache.
	rm -rf .venv .venv-protos .venv-tritonclient .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -prune -exec rm -rf {} +

# Each stamp is newer than the files that it depends on, so that the second call has nothing to do.
.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Gradserve needs Python 3.11 or newer.")'
	$(PYTHON) -m venv .venv

.venv/.serve: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip $(PIP_INSTALL) --constraint constraints.txt --editable '.[server]'
	touch $@

.venv/.dev: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip $(PIP_INSTALL) --constraint constraints.txt --editable '.[dev]'
	touch $@ .venv/.serve

.venv-protos/.installed: protos/requirements.txt
	$(PYTHON) -m venv .venv-protos
	.venv-protos/bin/python -m pip $(PIP_INSTALL) --requirement protos/requirements.txt
	touch $@

.venv-tritonclient/.installed: tests/open_inference/requirements.txt
	$(PYTHON) -m venv .venv-tritonclient
	.venv-tritonclient/bin/python -m pip $(PIP_INSTALL) --requirement tests/open_inference/requirements.txt
	touch $@
