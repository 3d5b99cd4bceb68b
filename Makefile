# Two commands matter: `make demo` and `make test`. Both start from a fresh checkout and need
# python3.11 and make. Files named .venv/.<step> stand for steps that are done.

PYTHON ?= python3.11
DTYPE ?= f32
VENV := .venv
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip install

TORCH ?= 2.14.1
SEED ?= 0
N ?= 1000
OTHER := .venv-torch-$(TORCH)
# Of all tests those that meet torch: tracing, the run time, whole forms.
TORCH_TESTS := tests/passes/fx tests/runtime $(addprefix tests/test_, $(addsuffix .py, \
	attention_forms attention_in_16_bits autocast_programs bad_input cli extreme_scores files \
	generation in_place input_checks mask_forms models models_compiled program shape_agnostic \
	subclasses torch_private warnings))

.PHONY: help demo test test-models test-torch fuzz lint bench torch clean

help:
	@echo "make demo    BERT, compiled and exported, against eager PyTorch, OpenVINO and Inductor;"
	@echo "             writes out/latency.png"
	@echo "make test    ruff, mypy --strict and the test suite"
	@echo "make test-models  models of transformers and diffusers; ten minutes on two cores"
	@echo "make test-torch TORCH=2.14.1  what meets torch, with another version, in an environment"
	@echo "             of its own"
	@echo "make fuzz SEED=0 N=1000  graphs as models write them, against eager and float64"
	@echo "make lint    ruff and mypy --strict only"
	@echo "make bench   attention at fixed sizes against the best peers, then at changing lengths,"
	@echo "             linear layers, whole models; some three hours on two cores, with a C++"
	@echo "             compiler for the peers; DTYPE=bf16 or f16 runs attention in that type"
	@echo "make clean   remove what these commands made"

demo: $(VENV)/.demo
	$(RUN) -m benchmarks demo

test: lint
	$(RUN) -m pytest -q -n logical --maxprocesses 8 --dist worksteal

test-models: $(VENV)/.test
	$(RUN) -m pytest -q -m "models or long" -n logical --maxprocesses 8 --dist worksteal

test-torch: $(OTHER)/.test
	$(OTHER)/bin/python -m pytest -q -n logical --maxprocesses 8 --dist worksteal $(TORCH_TESTS)

# The kernels of no other run: a fault found is one of this checkout.
fuzz: $(VENV)/.test
	SNIPJIT_CACHE=0 $(RUN) -m tests.fuzz --seed $(SEED) --count $(N)

lint: $(VENV)/.test
	$(RUN) -m ruff check .
	$(RUN) -m mypy

bench: $(VENV)/.peers
	$(RUN) -m benchmarks attention --dtype $(DTYPE)
	$(RUN) -m benchmarks dynamic
	$(RUN) -m benchmarks linear
	$(RUN) -m benchmarks models

torch: $(VENV)/.torch

# torch first and alone: everything else is resolved against this exact version.
$(VENV)/.torch:
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch==2.13.0
	@touch $@

$(VENV)/.demo: $(VENV)/.torch setup.py snipjit/version.py
	$(PIP) -e '.[demo]'
	@touch $@

$(VENV)/.peers: $(VENV)/.demo
	$(PIP) -e '.[peers]'
	@touch $@

$(VENV)/.test: $(VENV)/.torch setup.py snipjit/version.py
	$(PIP) -e '.[test]'
	@touch $@

$(OTHER)/.test: setup.py snipjit/version.py
	$(PYTHON) -m venv $(OTHER)
	$(OTHER)/bin/python -m pip install torch==$(TORCH)
	$(OTHER)/bin/python -m pip install -e '.[test]'
	@touch $@

clean:
	rm -rf $(VENV) .venv-torch-* build out *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
