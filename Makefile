# Two commands do everything: `make run` and `make test`. Both set up a virtual environment first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
IMAGE ?=

.PHONY: help run test check format bench bindings clean

help: ## Show this help
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: $(VENV)/.demo ## Run the demo: a photograph through a chain of three functions over four nodes (IMAGE=path for your own)
	@exec $(BIN)/skylark demo $(if $(IMAGE),--image "$(IMAGE)")

test: $(VENV)/.test ## Run all tests
	@exec scripts/test

check: $(VENV)/.test ## Run the linters and the type checker, and check that generated code is current
	@exec scripts/check

format: $(VENV)/.test ## Format the code
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

bench: $(VENV)/.demo ## Run the benchmarks
	@$(BIN)/skylark bench state && $(BIN)/skylark bench invoke

bindings: $(VENV)/.test ## Write the stubs of the WIT world anew
	@PATH="$(CURDIR)/$(BIN):$$PATH" scripts/generate-bindings

clean: ## Remove the virtual environment and what the tools left
	rm -rf $(VENV) demo-out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/.%: pyproject.toml scripts/setup
	@PYTHON="$(PYTHON)" scripts/setup $*
