# Two commands do everything on a machine with Python >= 3.11, a C++20 compiler and make:
#   make quickstart   install into .venv and run the main job
#   make test         install into .venv and run the tests
# `make help` lists the rest. No target needs a GPU. Paths may hold spaces: all are relative here.

PYTHON ?= python3
VENV   ?= .venv
# The torch that is installed and built with. Any torch >= 2.10 runs the binary; this one is pinned so that a build
# takes what was tested, and no other. On Linux, pip's default is the CUDA build, several GB with its libraries; with
# PIP_EXTRA_INDEX_URL set to PyTorch's index of CPU builds, pip takes the CPU build of the same release.
TORCH  ?= torch==2.13.0
# GPUs that the kernels are compiled for here: from 8.0 on, newer ones than 9.0 when they are first used. `pip install`
# compiles for each of 7.5 to 12.0, which takes minutes; tests/emulator/test_ptxas.py compiles for all of them too.
ARCHITECTURES ?= 80-real;90
OUT    ?= quickstart
# Processes that share the tests, file by file; each holds up to 10 GB for a moment.
TEST_JOBS ?= 2

BIN := $(VENV)/bin
RUN := $(BIN)/python
BUILD_TOOLS := "scikit-build-core>=0.11" "pybind11>=3.0" "cmake>=3.24" ninja
INSTALL := $(RUN) -m pip install --quiet --disable-pip-version-check --no-build-isolation \
	-C "cmake.define.CDIFAST_CUDA_ARCHITECTURES=$(ARCHITECTURES)"
SOURCES := CMakeLists.txt pyproject.toml $(shell find csrc -type f)

.DEFAULT_GOAL := help
.PHONY: help install quickstart test test-gpu sanitize-gpu test-dali test-compat lint format bench bench-check bench-gpu clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/pip.stamp:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python >= 3.11 is needed, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check "$(TORCH)" numpy
	$(RUN) -m pip install --quiet --disable-pip-version-check $(BUILD_TOOLS)
	@touch $@

# The editable install: Python files are used in place; compiled ones are rebuilt when csrc/ changes.
$(VENV)/install.stamp: $(VENV)/pip.stamp $(SOURCES)
	$(INSTALL) -e ".[dev]"
	@touch $@

install: $(VENV)/install.stamp ## build and install into .venv, in place, with everything that development needs

quickstart: install ## simulate, train, evaluate, map and report, into quickstart/
	$(RUN) -m cdifast.cli quickstart --output "$(OUT)"

test: install ## run the tests
	$(RUN) -m pytest -n $(TEST_JOBS) --dist loadfile --no-loadscope-reorder

test-gpu: install ## run the tests that need a GPU
	$(RUN) -m pytest -m gpu

sanitize-gpu: install ## run every operator under NVIDIA's compute-sanitizer, on a GPU
	$(INSTALL) nvidia-cuda-sanitizer-api
	SANITIZER="$$($(RUN) -c 'import nvidia; print(nvidia.__path__[0])')/cu13/compute-sanitizer/compute-sanitizer" && \
	chmod +x "$${SANITIZER%/*}"/* && \
	for tool in memcheck synccheck; do "$$SANITIZER" --tool $$tool --error-exitcode 1 $(RUN) tests/ops/run_on_gpu.py || exit 1; done && \
	"$$SANITIZER" --tool racecheck --error-exitcode 1 $(RUN) tests/ops/run_on_gpu.py float32

test-dali: install ## install DALI (0.6 GB) and run the tests of its backend, on the CPU
	$(INSTALL) -e ".[dev,dali]"
	$(RUN) -m pytest tests/data/test_dali.py

test-compat: install ## run the operator tests of this very binary under another torch (a download of 5.5 GB)
	PYTHON="$(RUN)" sh tests/compat.sh

lint: install ## check style and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(BIN)/clang-format --dry-run --Werror $$(find csrc benchmarks -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh')

format: install ## format all sources
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .
	$(BIN)/clang-format -i $$(find csrc benchmarks -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh')

# glibc keeps what is freed: results of 51 MB are timed without their page faults (benchmarks/heap.py).
WARM_HEAP := MALLOC_MMAP_THRESHOLD_=8589934592 MALLOC_TRIM_THRESHOLD_=17179869184
BENCH := $(RUN) -m pytest --benchmark-only --benchmark-disable-gc --benchmark-quiet --disable-warnings --quiet

$(VENV)/bench.stamp: $(VENV)/install.stamp
	$(INSTALL) -e ".[bench]"
	@touch $@

bench: $(VENV)/bench.stamp ## time the operators beside their peers, write tables, plot and roofline page (8 minutes)
	$(BENCH) --benchmark-json=build/bench-cold.json benchmarks/bench_heap.py
	$(WARM_HEAP) $(BENCH) --benchmark-json=build/bench-warm.json benchmarks
	$(RUN) -m benchmarks.report build/bench-cold.json build/bench-warm.json

bench-check: $(VENV)/bench.stamp ## fail if a ratio of speeds fell below the committed one (3 minutes)
	$(WARM_HEAP) $(BENCH) -m ratio --benchmark-json=build/bench-check.json benchmarks
	$(RUN) -m benchmarks.check build/bench-check.json

bench-gpu: install ## time the operators beside torch's on a GPU, write tables (1 minute; torch with CUDA, triton)
	$(RUN) -m benchmarks.gpu

clean: ## remove what was built
	rm -rf build dist $(VENV) .pytest_cache .mypy_cache .ruff_cache
