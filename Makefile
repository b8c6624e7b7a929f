# `make demo` and `make test` need Python 3.11 or newer and nothing else; the environment is made on first use.
PYTHON ?= python3
PIP_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo demo-videos demo-cheap demo-expensive demo-features demo-all-cheap demo-all-expensive demo-faster \
	demo-results test parity check wheel docs bench clean

CHECK_PYTHON = $(PYTHON) -c \
	'import sys; sys.exit(sys.version_info < (3, 11) and "vidpipe needs Python 3.11 or newer; set PYTHON=...")'

$(STAMP): pyproject.toml setup.py constraints.txt
	$(CHECK_PYTHON)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) --constraint constraints.txt --editable '.[dev]'
	touch $@

# The whole path on a rendered set, from nothing, in three to five minutes on two cores. DEMO is where everything goes.
# Each network has one thread, so that the outcome does not hang on how many cores there are.
DEMO ?= demo
SEED ?= 0
PRECISION ?= auto
VIDPIPE := OMP_NUM_THREADS=1 $(BIN)/vidpipe
CHEAP := r2d_14_w8
EXPENSIVE := r2plus1d_14_w16
VIDEOS ?= $(DEMO)/videos
SET := $(VIDEOS)/manifest.csv
STORE := $(DEMO)/rendered.zarr
TRAIN := $(VIDPIPE) train-backbone --manifest $(SET) --stride 1 --batch 16 --threads 1 --workers 1 \
	--optimizer adamw --weight-decay 0.05 --seed $(SEED) --precision $(PRECISION)
AGGREGATE := $(VIDPIPE) train-aggregator --store $(STORE) --seed $(SEED)

demo: $(STAMP)
	@$(MAKE) --no-print-directory demo-videos
	@$(MAKE) --no-print-directory -j2 demo-expensive demo-cheap
	@$(MAKE) --no-print-directory demo-features
	@$(MAKE) --no-print-directory -j2 demo-faster demo-all-cheap demo-all-expensive
	@$(MAKE) --no-print-directory demo-results
	@printf '%s\n' $(DEMO_WORDS)

# Large hosts show much of their bars, and short lives hide from the cheap network which way they go.
demo-videos:
	$(VIDPIPE) render $(VIDEOS) --videos 480 --size 64 --difficulty easy --host 1.5 --bar-life 2 --seed $(SEED)

# The cheap network is narrower and sees smaller pictures: a tenth of the other's cost, as in the paper.
demo-cheap:
	$(TRAIN) --backbone $(CHEAP) --size 40 --epochs 120 --warmup-epochs 0 --learning-rate 3e-3 \
		--out $(DEMO)/cheap_backbone

# Without a warm-up the network finds the fine motion epochs sooner, at the sixth or so.
demo-expensive:
	$(TRAIN) --backbone $(EXPENSIVE) --size 48 --epochs 20 --warmup-epochs 0 --learning-rate 3e-3 \
		--out $(DEMO)/expensive_backbone

demo-features:
	$(VIDPIPE) extract --manifest $(SET) --store $(STORE) --clips 8 --batch 16 --threads 1 --precision $(PRECISION) \
		--cheap $(DEMO)/cheap_backbone --expensive $(DEMO)/expensive_backbone

demo-all-cheap:
	$(AGGREGATE) --aggregator average --pattern all-cheap --out $(DEMO)/all_cheap

demo-all-expensive:
	$(AGGREGATE) --aggregator average --pattern all-expensive --out $(DEMO)/all_expensive

demo-faster:
	$(AGGREGATE) --aggregator fast-gru --pattern 1:3 --width 128 --epochs 10 --learning-rate 2e-3 --out $(DEMO)/faster

demo-results:
	$(VIDPIPE) evaluate --store $(STORE) --out $(DEMO)/results \
		--run $(DEMO)/all_cheap --run $(DEMO)/all_expensive --run $(DEMO)/faster

DEMO_WORDS = "" \
	"What this showed. A class is two events in their order, and a fine motion. Averaging the scores of clips cannot know" \
	"the order, so it cannot pass 50 %, and the cheap backbone hardly sees the motion. FASTER reads one expensive clip," \
	"then three cheap ones, in order: it has both, for a third of what expensive clips alone cost." \
	"Pictures: $(DEMO)/results/accuracy_vs_gmacs.png and $(DEMO)/results/faster/confusion.png" \
	"" \
	"What to type next: a linear classifier on the same features; other aggregators and patterns, each with its cost;" \
	"the list of your own videos, in a folder a class, for which the commands above then do the same." \
	"  $(BIN)/vidpipe probe --store $(STORE) --out $(DEMO)/probe" \
	"  $(BIN)/vidpipe sweep --store $(STORE) --out $(DEMO)/sweep --aggregator average,gru,fast-gru --pattern first,1:1,1:3" \
	"  $(BIN)/vidpipe manifest from-folders VIDEOS -o my_videos.csv"

# One process a core, each of one thread, takes half the time that one process takes on two cores. A file's tests stay
# together, so that its stores and runs are made once, until one process has nothing left to do.
WORKERS ?= logical

test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not parity" --numprocesses $(WORKERS) \
		--maxprocesses 8 --dist worksteal

# Other libraries' own networks beside ours. torchvision has no build for every torch, so they lie apart, by themselves,
# each without what it asks for: what is needed of that stands here too. constraints.txt has the versions.
PARITY := build/parity
PARITY_STAMP := $(PARITY)/.installed
PARITY_PACKAGES := torchvision timm pytorchvideo fvcore iopath parameterized yacs portalocker termcolor tabulate \
	transformers tokenizers regex typing-inspection annotated-types \
	huggingface_hub hf-xet httpx2 httpcore2 h11 anyio idna truststore

$(PARITY_STAMP): constraints.txt | $(STAMP)
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) --no-deps --upgrade --target $(PARITY) \
		--constraint constraints.txt $(PARITY_PACKAGES)
	touch $@

parity: $(STAMP) $(PARITY_STAMP)
	OMP_NUM_THREADS=1 PYTHONPATH=$(PARITY) $(BIN)/python -m pytest -m parity --numprocesses $(WORKERS) --maxprocesses 8

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright

# The wheel, and the smallest path with it in an empty environment of every Python there is: what a user gets.
wheel: export PIP_ARGS := $(PIP_ARGS)
wheel:
	$(CHECK_PYTHON)
	$(PYTHON) .ci/try_wheel.py

# The pages of docs/ as a site, in site/.
docs: $(STAMP)
	$(BIN)/python -m mkdocs build --strict

bench: $(STAMP)
	@test -n "$$VIDPIPE_TEST_MEDIA" || { echo "set VIDPIPE_TEST_MEDIA to the directory that holds ut_interaction/"; exit 1; }
	$(BIN)/python benchmarks/ut_interaction.py --media "$$VIDPIPE_TEST_MEDIA" --out runs/ut_interaction --table

clean:
	rm -rf $(DEMO) runs site
