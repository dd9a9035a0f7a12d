# make demo    everything on this machine: phantom in, denoised series out, a picture to look at
# make mr      adds what the MR pipelines need (264 MB)
# make test    unit, integration and acceptance tests against real peers; WORKERS at a time, the longest first
# make test-train  the tests that need the extra `train` (torch, scikit-image), in an environment of their own
# make lint    what pre-commit and CI run
# make bench   times beside DCMTK and Orthanc
# make papers  what IT asks for, written anew: SBOM, licences, statement and port sheet of the example (deploy/papers/)
# make lock    writes deploy/lock/ anew from pyproject.toml; then make papers
# make clean   removes what the targets above made
# Every target sets itself up; the second call only does what is left.

PYTHON ?= python3
BIN := .venv/bin
PYTEST_ARGS ?=
WORKERS ?= 3
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore
# Every process of a node would compile all of it anew: a tenth of the tests' time.
unexport PYTHONDONTWRITEBYTECODE

PIP := $(BIN)/python -m pip --quiet
# The editable install needs no network: its build tool, setuptools, stands in the lock.
PROJECT := $(PIP) install --no-deps --no-build-isolation --editable .
COMPILE := build/lock/bin/pip-compile --quiet --generate-hashes --allow-unsafe --build-deps-for=editable --strip-extras \
	--no-annotate --no-header --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options

.PHONY: demo mr test test-train lint bench papers lock peers clean

demo: .venv/.runtime
	$(BIN)/imaging-node demo

mr: .venv/.mr

test: .venv/.test peers
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

test-train: .venv-train/.ready
	.venv-train/bin/pytest -q tests/unit/test_evaluation.py tests/unit/test_training_*.py

lint: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/.test peers
	$(BIN)/python -m tests.bench

papers: .venv/.test
	$(BIN)/python deploy/papers/build/make.py

peers:
	@deploy/setup-peers.sh

.venv/pyvenv.cfg:
	@deploy/setup-venv.sh "$(PYTHON)" .venv

.venv/.runtime: .venv/pyvenv.cfg deploy/lock/runtime.txt pyproject.toml
	@echo "Installing the node into .venv (365 MB, once) ..."
	@$(PIP) install --require-hashes --requirement deploy/lock/runtime.txt
	@$(PROJECT)
	@touch $@

.venv/.mr: .venv/.runtime deploy/lock/mr.txt
	@echo "Installing what the MR pipelines need into .venv (264 MB, once) ..."
	@$(PIP) install --require-hashes --requirement deploy/lock/mr.txt
	@touch $@

.venv/.test: .venv/.runtime deploy/lock/test.txt
	@echo "Installing the test tools into .venv ..."
	@$(PIP) install --require-hashes --requirement deploy/lock/test.txt
	@touch $@

.venv-train/.ready: deploy/lock/test.txt pyproject.toml
	@deploy/setup-venv.sh "$(PYTHON)" .venv-train
	@echo "Installing the training tools into .venv-train (1.7 GB, once) ..."
	@.venv-train/bin/python -m pip --quiet install --requirement deploy/lock/test.txt
	@.venv-train/bin/python -m pip --quiet install --no-build-isolation --editable .[train]
	@touch $@

lock:
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip --quiet install pip-tools==7.6.2
	$(COMPILE) --output-file deploy/lock/runtime.txt pyproject.toml
	$(COMPILE) --extra mr --constraint deploy/lock/runtime.txt --output-file deploy/lock/mr.txt pyproject.toml
	$(COMPILE) --extra gpu --constraint deploy/lock/runtime.txt --output-file build/lock/gpu.txt pyproject.toml
	# A whole lock: onnxruntime-gpu takes the place of onnxruntime, which the project itself names.
	awk '/^[a-z]/ { skip = /^onnxruntime==/ } !skip' build/lock/gpu.txt > deploy/lock/gpu.txt
	$(COMPILE) --extra test --constraint deploy/lock/runtime.txt --output-file deploy/lock/test.txt pyproject.toml

clean:
	rm -rf .venv .venv-train build demo-out *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
