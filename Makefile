# demo: from nothing to points on a picture.  test: the whole suite.  check: format, lint, types, import contracts.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test check format bench venv system clean

venv: $(READY)

$(READY): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (some minutes the first time) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@# Wanted for tests alone, without the large things they would bring along; and where there is no build of one, without it.
	@for package in moondream miniwob; do $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $$package || true; done
	@for package in pycolmap pyrealsense2; do $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $$package || true; done
	@touch $(READY)

demo: venv
	@$(BIN)/molmo-point demo --out demo.png

system:
	@bash tests/install_system.sh

test: venv system
	@# Browsers mostly wait: two at a time. Everything else has the machine for itself.
	@$(BIN)/python -m pytest tests/agents -n 2 --dist worksteal
	@$(BIN)/python -m pytest --ignore tests/agents

check: venv
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: venv
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: venv
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
