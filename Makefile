# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
KIND   := $(shell nvidia-smi >/dev/null 2>&1 && echo gpu || echo cpu)
LOCK   := requirements-$(KIND).txt
STAMP  := $(VENV)/.installed-$(KIND)
TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu

export RAY_USAGE_STATS_ENABLED = 0
export TOKENIZERS_PARALLELISM = false

.PHONY: demo first-hour test slow faults fuzz golden environments lint types coverage dist docs audit install model clean

# Without bf16 instructions a CPU is several times slower: fewer tokens, fewer questions, and without
# the baselines that need no training. A value is written once, as on the command line.
FEWER := $(shell grep -qsw -e avx512_bf16 -e bf16 /proc/cpuinfo || nvidia-smi >/dev/null 2>&1 || echo \
  mix.tokens=1500 train.arms.dpo.tokens=1500 generate.rows=48 \
  evaluate.limit=24 evaluate.irrelevance_rows=16 evaluate.instruction_rows=8 evaluate.val_rows=16 \
  evaluate.max_tokens=128 evaluate.few_shot=0 evaluate.constrained=false evaluate.latency.rows=0 \
  tune.tokens=400 tune.rows=16 tune.score=teacher_forced)
demo: model
	$(BIN)/raytune-agents run jobs/configs/smoke_cpu.yaml name=demo $(FEWER)

# What a new user types, from a clean clone; prints the seconds of each stage.
first-hour:
	$(PYTHON) benchmarks/first_hour.py

# Ray's tests keep both cores busy by themselves: in two processes they take no less time.
test: model
	$(BIN)/python -m pytest tests/unit -n 2
	$(BIN)/python -m pytest tests/ray

# These two take hours: PART=2/4 runs the second of four parts. The slowest tests are named at the end.
PART ?= 1/1
slow: model
	$(BIN)/python -m pytest tests -m slow --part $(PART) --durations=10

# What slow tests of foreign environments talk to: packages that pin other versions than ours, each
# asked for by itself; MCP servers and proxies of both releases of `mcp`; a benchmark's data.
FOREIGN := .venvs/environments
FOREIGN_MCP1 := .venvs/mcp-1
NESTFUL := .venvs/nestful
environments:
	test -x $(FOREIGN)/bin/python || $(PYTHON) -m venv $(FOREIGN)
	test -x $(FOREIGN)/bin/openenv || $(FOREIGN)/bin/pip install -q 'openenv-core==0.3.0'
	test -x $(FOREIGN)/bin/mcp-server-time -a -x $(FOREIGN)/bin/fastmcp || \
	  $(FOREIGN)/bin/pip install -q 'mcp-server-time>=2026' 'fastmcp>=4'
	test -x $(FOREIGN_MCP1)/bin/python || $(PYTHON) -m venv $(FOREIGN_MCP1)
	test -x $(FOREIGN_MCP1)/bin/mcp-proxy || \
	  $(FOREIGN_MCP1)/bin/pip install -q 'mcp<2' 'mcp-server-time<2026' 'mcp-proxy==0.13.0'
	test -d $(NESTFUL)/data_v1 || \
	  $(FOREIGN)/bin/pip install -q --no-deps --target $(NESTFUL) 'nestful-wrapper==0.1.7'

# Property tests on newly drawn rows, then mutated rows through read, label, mix and export: prints
# crashes, uncounted, slowest_s.
ROWS ?= 100000
fuzz: model
	$(BIN)/python -m pytest --hypothesis-profile=default $$(grep -l '^from hypothesis' tests/unit/*.py)
	$(BIN)/python benchmarks/fuzz_rows.py --rows $(ROWS)

faults: model
	$(BIN)/python -m pytest tests -m faults --part $(PART) --durations=10

# The results of an old revision and of this tree on the tiny config, side by side.
golden: model
	$(BIN)/python benchmarks/golden.py

lint: install
	$(BIN)/ruff check .
	$(BIN)/python -m pytest tests/unit/test_docs.py -k 'links or site'

# The site, in build/site, by an environment of its own: pages, options out of the config, Python API.
DOCS := .venvs/docs
docs:
	test -x $(DOCS)/bin/mkdocs || { $(PYTHON) -m venv $(DOCS) && $(DOCS)/bin/pip install -q \
	  'mkdocs-material>=9.6,<10' 'mkdocstrings[python]>=0.30' 'pydantic>=2.11,<3' pyyaml; }
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build -q && echo "open build/site/index.html"

install: $(STAMP)

types: install
	$(BIN)/mypy --version >/dev/null 2>&1 || $(BIN)/pip install -q 'mypy>=2.4'
	$(BIN)/mypy

# The share of the package's lines that the unit tests run; below 85 % it fails.
coverage: model
	$(BIN)/python -c 'import pytest_cov' 2>/dev/null || $(BIN)/pip install -q 'pytest-cov>=7'
	$(BIN)/python -m pytest tests/unit -n 2 --cov raytune_agents --cov-fail-under 85 \
	  --cov-report term:skip-covered

# Wheel and source archive in build/dist, as a package index would take them.
dist: install
	test -x $(BIN)/pyproject-build -a -x $(BIN)/twine || $(BIN)/pip install -q 'build>=1.3' 'twine>=6'
	rm -rf build/dist && $(BIN)/pyproject-build -q --outdir build/dist
	$(BIN)/twine check --strict build/dist/*

# Known weaknesses of the locked packages; asks PyPI's advisory database over the network.
audit: install
	$(BIN)/pip-audit --version >/dev/null 2>&1 || $(BIN)/pip install -q pip-audit
	$(BIN)/pip-audit --no-deps --disable-pip -r $(LOCK)

# torch first: its CPU build where one is at hand, else from PyTorch's CPU index. The lock has everything
# else, without torchvision, torchaudio and torchcodec, which break `import peft` on CPU.
$(STAMP): requirements-cpu.txt requirements-gpu.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@if [ $(KIND) = cpu ]; then \
	  $(BIN)/python -c 'import torch; assert torch.__version__.startswith("2.13.0")' 2>/dev/null || \
	  $(BIN)/pip install -q --no-deps "torch==2.13.0+cpu" 2>/dev/null || \
	  $(BIN)/pip install -q --no-deps --index-url $(TORCH_CPU_INDEX) "torch==2.13.0+cpu"; fi
	@if [ $(KIND) = gpu ]; then $(BIN)/pip install -q "torch==2.13.0"; fi
	$(BIN)/pip install -q --no-deps -r $(LOCK)
	$(BIN)/pip install -q --no-deps --no-build-isolation -e .
	@touch $@

# The embedded model, converted once into the user's cache.
model: install
	$(BIN)/raytune-agents doctor --only model

clean:
	rm -rf $(VENV) runs build *.egg-info
