# demo: from nothing to points on an image.  test: the whole suite.  check: format, lint, types, import contracts.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Tests that run at the same time.
WORKERS ?= 2
TORCH := $(shell sed -n 's/^torch==//p' constraints.txt)

.PHONY: demo test check format bench venv system clean

# What running a model needs, and nothing for development.
$(VENV)/.engine: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing what running a model needs into $(VENV): about 35 packages, torch the largest of them"
	@echo "(0.2 GB to fetch for its CPU build, about 3 GB for the CUDA build that an index may serve instead; 1 to 7 GB on disk)."
	@# On Linux the plain version can be the CUDA build. The CPU build has a version of its own where an index carries it.
	@if [ "$$(uname)" = Linux ] && ! command -v nvidia-smi >/dev/null 2>&1; then \
	    $(PIP) install "torch==$(TORCH)+cpu" 2>/dev/null || echo "no CPU build of torch $(TORCH) on the configured package indexes: taking the default one"; fi
	$(PIP) install -c constraints.txt -e ".[engine]"
	@touch $@

# Everything for development and tests.
$(VENV)/.ready: $(VENV)/.engine
	@echo "Installing what the tests need into $(VENV): about 110 packages more, 2 GB on disk"
	$(PIP) install --quiet -c constraints.txt -e ".[dev]"
	@# Wanted for tests alone, without the large things they would bring along; and where there is no build of one, without it.
	@for package in moondream miniwob; do $(PIP) install --quiet --no-deps $$package || true; done
	@for package in pycolmap pyrealsense2; do $(PIP) install --quiet -c constraints.txt $$package || true; done
	@touch $@

venv: $(VENV)/.ready

demo: $(VENV)/.engine
	@$(BIN)/molmo-point demo --out demo.png

system:
	@bash tests/install_system.sh

test: venv system
	@# Browsers apart from the rest: they want the processor at the moments when somebody waits for them.
	@$(BIN)/python -m pytest tests/agents -n $(WORKERS) --dist worksteal
	@$(BIN)/python -m pytest --ignore tests/agents -n $(WORKERS) --dist worksteal

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
