# Each target does the whole set-up first, once: a second call sets up nothing.
# PYTHON=/path/to/python3.11 chooses the interpreter.
PYTHON ?= python3.11 python3.10 python3
BIN = .venv/bin
READY = .venv/.ready

.PHONY: help run test test-gpu quick check bench stress-faults browser

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' Makefile

run: $(READY) dataset/pantry-sample ## train and evaluate MISSRec on the sample data set
	$(BIN)/python run_recbole_missrec.py --dataset=pantry-sample

# a process for each processor, of one thread: more would wait for each other
test: browser $(READY) ## the whole test suite
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=auto --dist=worksteal

test-gpu: browser $(READY) ## the whole test suite on a GPU, tests/test_devices.py against the CPU
	@$(BIN)/python -c 'import sys, torch; torch.cuda.is_available() or sys.exit( \
	    f"test-gpu needs a GPU and a CUDA build of torch; torch {torch.__version__} sees none")'
	$(BIN)/python -m pytest

quick: $(READY) ## the tests that are not marked slow
	$(BIN)/python -m pytest -m "not slow"

check: $(READY) ## lint, format and types
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

bench: $(READY) ## a training epoch against its padded form, and against the committed ratios
	$(BIN)/python -m benchmarks.train_epoch --out results/bench.json --against docs/results/bench.json

stress-faults: $(READY) ## kills, full disks (as root), a million items
	$(BIN)/python -m benchmarks.stress_faults

browser:
	@command -v chromium >/dev/null || { \
	    echo "The tests of the report need chromium: apt-get install chromium" >&2; exit 2; }

dataset/pantry-sample: | $(READY)
	$(BIN)/python -m dataset_builders sample

# torch goes first and alone, so that a build installed by hand or another index stays in use.
# The stamp is written last: a set-up that failed is done again.
$(READY): setup.cfg constraints.txt
	@for python in $(PYTHON); do \
	    version=$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null); \
	    case "$$version" in 3.10|3.11) exec $$python -m venv .venv;; esac; \
	    tried="$$tried $$python ($${version:-does not run})"; \
	done; \
	echo "recbole-missrec needs Python 3.10 or 3.11, since recbole 1.2.1 needs ray <= 2.6.3," \
	    "which has no wheel for 3.12. Tried:$$tried. Set PYTHON=/path/to/python3.11." >&2; \
	exit 2
	$(BIN)/python -m pip install --constraint constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[test,check]'
	@touch $@
