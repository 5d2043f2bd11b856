# Every target works as the first command in a fresh clone: what it needs is made before it.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
BENCH := .venv/bench
WORKERS ?= 6
# Tests start many processes: without bytecode each of them compiles the package anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install demo test test-slow test-llm test-oldest fuzz check format bench bench-large bench-cuda bench-finetune clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml .ci/constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/pip install --quiet -c .ci/constraints.txt -e '.[offline,judge,report]' --group dev
	touch $@

# The README's first chain, as a user's own Makefile would have it: nothing is made twice.
demo: build/small.jsonl

build/alpaca.npy: sample_data/alpaca.jsonl | $(INSTALLED)
	mkdir -p $(@D)
	$(BIN)/gip embed $< -o $@

build/scored.jsonl: sample_data/alpaca.jsonl | $(INSTALLED)
	mkdir -p $(@D)
	$(BIN)/gip score $< -o $@ --metadata rating=meta.rating --range rating=1:5

build/small.jsonl: build/scored.jsonl build/alpaca.npy
	$(BIN)/gip select $< -e build/alpaca.npy -k 20 -o $@
	@echo "the 20 rows are in $@, how they were picked in $(@:.jsonl=.receipt.json)"

test: $(INSTALLED)
	$(BIN)/python -m pytest -n auto --dist loadfile

test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -m slow

test-llm: $(INSTALLED)
	$(BIN)/pip install --quiet -c .ci/constraints.txt --group llm
	$(BIN)/python -m pytest -m llm

# With the least versions that pyproject.toml allows, in an environment of their own.
test-oldest:
	mkdir -p build
	grep -oE '"[a-z0-9-]+>=[0-9.]+' pyproject.toml | sed 's/"//; s/>=/==/' > build/oldest.txt
	grep '^torch==' .ci/constraints.txt >> build/oldest.txt
	$(PYTHON) -m venv build/oldest
	build/oldest/bin/pip install --quiet --upgrade 'pip>=25.1'
	build/oldest/bin/pip install --quiet -c build/oldest.txt -e '.[offline,judge,report]' --group dev
	PATH=$(CURDIR)/build/oldest/bin:$$PATH build/oldest/bin/python -m pytest -n auto --dist loadfile

fuzz: $(INSTALLED)
	GIP_FUZZ_EXAMPLES=10000 $(BIN)/python -m pytest tests/test_fuzz.py

check: $(INSTALLED)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(MAKE) test

format: $(INSTALLED)
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: $(BENCH)
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE $(BIN)/python -m tests.benchmarks.small

bench-large: $(BENCH)
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE $(BIN)/python -m tests.benchmarks.large

bench-cuda: $(BENCH)
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE $(BIN)/python -m tests.benchmarks.cuda

# Needs a GPU and the rows that it names. What has run is kept in build/bench/finetune, and not run
# again: delete that folder to measure anew.
bench-finetune: $(INSTALLED)
	$(BIN)/pip install --quiet -c .ci/constraints.txt --group llm
	$(BIN)/python -m tests.benchmarks.finetune.run --workers $(WORKERS)

$(BENCH): $(INSTALLED)
	$(BIN)/pip install --quiet -c .ci/constraints.txt --group bench
	touch $@

clean:
	rm -rf build dist .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis
