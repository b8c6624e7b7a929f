# `make demo` and `make test` need Python 3.11 or newer and nothing else; the environment is made on first use.
PYTHON ?= python3
PIP_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo demo-cheap demo-expensive test check docs bench clean

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "vidpipe needs Python 3.11 or newer; set PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) --constraint constraints.txt --editable '.[dev]'
	touch $@

# The whole path on a rendered set, from nothing, in under five minutes on two cores. DEMO is where everything goes.
DEMO ?= demo
VIDPIPE := $(BIN)/vidpipe
CHEAP := r2d_14_w16
EXPENSIVE := r2plus1d_14_w16
SET := $(DEMO)/videos/manifest.csv
STORE := $(DEMO)/features.zarr
TRAIN := $(VIDPIPE) train-backbone --manifest $(SET) --size 64 --epochs 30 --batch-size 16 --threads 1 --workers 1 \
	--optimizer adamw --learning-rate 2e-3 --weight-decay 0.05
AGGREGATE := $(VIDPIPE) train-aggregator --store $(STORE)

demo: $(STAMP)
	$(VIDPIPE) render $(DEMO)/videos --videos 480 --seed 0
	@$(MAKE) --no-print-directory -j2 demo-cheap demo-expensive
	$(VIDPIPE) extract --manifest $(SET) --store $(STORE) --clips 8 --batch 8 \
		--cheap $(CHEAP)=$(DEMO)/cheap_backbone/weights.safetensors \
		--expensive $(EXPENSIVE)=$(DEMO)/expensive_backbone/weights.safetensors
	$(AGGREGATE) --aggregator average --pattern all-cheap --out $(DEMO)/all_cheap
	$(AGGREGATE) --aggregator average --pattern all-expensive --out $(DEMO)/all_expensive
	$(AGGREGATE) --aggregator fast-gru --pattern 1:3 --epochs 25 --out $(DEMO)/faster
	$(VIDPIPE) evaluate --store $(STORE) --out $(DEMO)/results \
		--run $(DEMO)/all_cheap --run $(DEMO)/all_expensive --run $(DEMO)/faster

demo-cheap:
	$(TRAIN) --backbone $(CHEAP) --out $(DEMO)/cheap_backbone

demo-expensive:
	$(TRAIN) --backbone $(EXPENSIVE) --out $(DEMO)/expensive_backbone

# One process a core, each of one thread, takes half the time that one process takes on two cores. A file's tests stay
# together, so that its stores and runs are made once, until one process has nothing left to do.
WORKERS ?= logical

test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --maxprocesses 8 --dist worksteal

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright

# The pages of docs/ as a site, in site/.
docs: $(STAMP)
	$(BIN)/python -m mkdocs build --strict

bench: $(STAMP)
	@test -n "$$VIDPIPE_TEST_MEDIA" || { echo "set VIDPIPE_TEST_MEDIA to the directory that holds ut_interaction/"; exit 1; }
	$(BIN)/python benchmarks/ut_interaction.py --media "$$VIDPIPE_TEST_MEDIA" --out runs/ut_interaction --table

clean:
	rm -rf $(DEMO) runs site
