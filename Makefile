# Everything a newcomer needs: `make demo` and `make test` set up what they use in .venv.
# Another interpreter: make PYTHON=/path/to/python3 setup. Another port for the demo: make PORT=3100 demo.

PYTHON ?=
PORT   ?= 3000
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.ready
PACKER := build/venv
PEERS  := build/peers
FUZZ   := build/fuzz
RUNS   ?= 200000
TORCH  := torch==2.13.0+cpu

CANDIDATES := $(or $(PYTHON),python3.11 python3.12 python3.13 python3.14 python3)

.PHONY: help setup demo native pure torch test soak faults fuzz check format bench bench-peers binary clean
.DEFAULT_GOAL := help

help:            ## what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | expand -t 14

# A name on PATH proves nothing (pyenv has shims of interpreters that are not there): each candidate is run.
$(STAMP): pyproject.toml
	@for python in $(CANDIDATES); do \
	    if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        echo "making $(VENV) with $$("$$python" --version), which takes a minute"; \
	        exec "$$python" -m venv $(VENV); \
	    fi; \
	done; \
	echo "make: no Python 3.11 or later among: $(CANDIDATES); name one: make PYTHON=/path/to/python3 setup" >&2; exit 1
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

setup: $(STAMP)  ## make .venv with svcd and what its tests need

# The build for CPUs: PyPI's brings 2 GB of CUDA along. pip finds it where PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS says.
torch: $(STAMP)  ## add torch for CPUs to .venv, for the tests that need it
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check '$(TORCH)'

demo: $(STAMP)   ## run the digits example in the foreground
	@echo "When it is ready, post a picture from another terminal in this folder (0013_3.png shows a 3):"
	@echo
	@echo "    curl --data-binary @examples/digits/held_out/0013_3.png -H 'Content-Type: image/png' http://127.0.0.1:$(PORT)/classify"
	@echo
	@$(BIN)/svcd up -f examples/digits/svcd.toml --set app.http=127.0.0.1:$(PORT)

# Optional: what is not compiled, or has changed since, runs as it stands. SVCD_PURE=1 runs all of it as it stands.
native: $(STAMP) ## compile what each call runs through for this interpreter (a minute; needs gcc): calls cost a third less
	@$(BIN)/python packaging/compile_core.py
	@$(BIN)/python -c 'from svcd.worker import kind; print("svcd runs", kind.KIND, kind.PURE)'

pure:            ## remove what `make native` made
	rm -rf ipc/svcd_ipc/compiled supervisor/svcd/worker/compiled

# The tests start thousands of processes; without this each would compile all it imports once more.
unexport PYTHONDONTWRITEBYTECODE

# More workers than most machines have cores to spare: they wait for processes most of the time. The longest modules go
# first (tests/conftest.py), not those with the most tests: else a worker is alone with one at the end.
test: $(STAMP)   ## run all tests; the summary says what was skipped and why
	$(BIN)/python -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder

soak: $(STAMP)   ## ten minutes of full load and 10,000 clients that go away: does anything grow, is anything left?
	SVCD_SOAK_SECONDS=600 $(BIN)/python -m pytest -s tests/integration/test_soak.py
	SVCD_SOAK=10000 $(BIN)/python -m pytest tests/integration/http/test_http_disconnects.py

# Atheris sees what Python runs, and so wants the pure core. It is a compiled module that needs no other; svcd's own environment stays without it.
$(FUZZ)/.ready: | $(STAMP)
	@$(BIN)/python -m venv --clear $(FUZZ)
	@$(FUZZ)/bin/python -m pip install --quiet --disable-pip-version-check atheris msgpack numpy trio
	@mkdir -p $(FUZZ)/corpus
	@touch $@

fuzz: $(STAMP) $(FUZZ)/.ready  ## feed the protocol with hostile inputs; RUNS=10000000 is the long form (half an hour)
	$(BIN)/python -m pytest tests/properties/ipc tests/fuzz --hypothesis-profile=fuzz --timeout=0
	SVCD_PURE=1 PYTHONPATH=ipc $(FUZZ)/bin/python tests/fuzz/run_fuzz.py -atheris_runs=$(RUNS) -max_len=512 \
	    -artifact_prefix=$(FUZZ)/ $(FUZZ)/corpus tests/fuzz/corpus

faults: $(STAMP) ## break everything for a minute each under load, half an hour; SVCD_SEED=N repeats a run
	SVCD_FAULTS=500 $(BIN)/python -m pytest -s tests/chaos/test_task_deaths.py
	SVCD_FAULT_SECONDS=60 $(BIN)/python -m pytest -s \
	    tests/chaos/test_fault_table.py tests/chaos/test_probes.py tests/chaos/test_scarcity.py tests/chaos/test_zoo.py \
	    tests/chaos/test_twenty_shells.py tests/chaos/test_idle_crowd.py
	SVCD_FAULT_SECONDS=60 $(BIN)/python -m pytest -n 3 tests/chaos/test_every_transition.py
	$(BIN)/python bench/faults.py --seconds 60

check: $(STAMP)  ## lint, format, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(STAMP) ## put the code in the format that check wants
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)  ## measure svcd and its peers side by side, a quarter of an hour, and write bench/results
	$(BIN)/python bench/run.py

# The peers have an environment of their own: what they need must not find its way into svcd's.
$(PEERS)/.ready: bench/peers.txt | $(STAMP)
	@$(BIN)/python -m venv --clear $(PEERS)
	@$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -r bench/peers.txt
	@touch $@

bench-peers: $(PEERS)/.ready  ## install those that svcd is compared with, in build/peers

# In an environment of its own: what else is installed must not find its way into the program.
$(PACKER)/.ready: pyproject.toml $(STAMP)
	@$(BIN)/python -m venv --clear $(PACKER)
	@$(PACKER)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[binary]'
	@touch $@

binary: $(PACKER)/.ready  ## pack svcd into one file, dist/svcd
	@SVCD_PURE=1 $(PACKER)/bin/pyinstaller --noconfirm --log-level WARN --distpath dist --workpath build/pyinstaller packaging/svcd.spec
	@ls -lh dist/svcd

clean:           ## remove what make made
	rm -rf $(VENV) build dist ipc/svcd_ipc/compiled supervisor/svcd/worker/compiled
