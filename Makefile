# Everything installs into .venv; the only things needed beforehand are Python 3.11 to 3.13 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

# What the tests of the testbed need; only root can make one, others skip those tests.
TESTBED_PACKAGES := iproute2 openssh-client openssh-server rsync

# torch by its exact version: with only a range, pip prefers the newest build for CUDA. Which build
# of it is right depends on the machine, so it and what it brings for CUDA have no hash.
TORCH := torch==2.13.0
# Where `make newest` tries what the ranges in setup.cfg allow, and `make lock` takes versions from.
NEWEST := .venv-newest
FROM ?= $(NEWEST)

.PHONY: install packages demo test lint types unit newest lock files clean

install: $(VENV)/installed

$(VENV)/installed: setup.cfg setup.py requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "Python 3.11 to 3.13 is needed; call make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { [ "$$(id -u)" = 0 ] && \
	  apt-get update -qq && apt-get install -qq -y python3-venv; } || \
	  { echo "Python's venv module is missing: apt-get install python3-venv"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@# The lock is whole, so nothing is looked for beside it; what torch needs is there then.
	$(BIN)/pip install --quiet --require-hashes --no-deps --requirement requirements.lock
	$(BIN)/pip install --quiet "$(TORCH)"
	$(BIN)/pip install --quiet --no-deps --editable .
	$(BIN)/pip check
	touch $@

demo: install
	$(BIN)/edgesplit demo --out out/demo

test: lint types unit

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

packages:
	@[ "$$(id -u)" != 0 ] || dpkg -s $(TESTBED_PACKAGES) >/dev/null 2>&1 || \
	  { apt-get update -qq && apt-get install -qq -y $(TESTBED_PACKAGES) >/dev/null; } || \
	  echo "without $(TESTBED_PACKAGES) the tests of the testbed are skipped"

unit: install packages
	$(BIN)/python -m pytest -n 2 --no-loadscope-reorder

# The newest versions that setup.cfg allows, in an environment of their own: are the ranges true?
newest:
	rm -rf $(NEWEST)
	$(PYTHON) -m venv $(NEWEST)
	$(NEWEST)/bin/pip install --quiet "$(TORCH)"
	$(NEWEST)/bin/pip install --quiet --editable ".[dev]"
	touch $(NEWEST)/installed
	$(MAKE) test VENV=$(NEWEST)

lock:
	$(PYTHON) .ci/lock.py $(FROM) > requirements.lock.part
	mv requirements.lock.part requirements.lock

# The table of files in docs/design.md, which a test compares with the modules.
files:
	$(PYTHON) .ci/files.py

clean:
	rm -rf $(VENV) $(NEWEST) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
