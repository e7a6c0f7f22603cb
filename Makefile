# Two commands: `make book` builds the site, `make test` proves the book. `make help` lists the rest.
PYTHON ?= python3
BIN := .venv/bin
# One thread a kernel: faster here than two, and the same printed numbers on every machine.
export OMP_NUM_THREADS ?= 1
export MKL_NUM_THREADS ?= 1
# Compiled modules are kept, but not beside the sources: without them each notebook spends 8 seconds more on its imports.
unexport PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX := $(CURDIR)/_build/pycache
export DLE_PROGRESS ?= 1
# Notebooks and tests run side by side, one file a worker, the costliest notebooks first.
PYTEST := DLE_PROGRESS=0 $(BIN)/python -m pytest -n $${WORKERS:-auto} --dist loadfile --no-loadscope-reorder
DUE = $(BIN)/python -m tools.due $(if $(ALL),--all) $(if $(SHARD),--shard $(SHARD)) >_build/due

.PHONY: book test notebooks check check-code run refresh verify steady shape bench publish serve oldest newest lock clean help

book: .venv/installed ## build the website in _build/html
	@mkdir -p _build
	@$(BIN)/jupyter-book build -W -n --keep-going -q . >_build/book.log 2>&1 || { cat _build/book.log; exit 1; }
	@$(BIN)/python -m tools.site

test: check-code book ## prove everything: code, site, the notebooks that are due and a share of the others [ALL=1: all]
	@$(DUE)
	$(PYTEST) --nbval --nbval-current-env $$(cat _build/due) tests

notebooks: .venv/installed ## execute and compare notebooks alone, as `test` chooses them [ALL=1] [SHARD=1/4]
	@mkdir -p _build && $(DUE)
	@if test -s _build/due; then $(PYTEST) --nbval --nbval-current-env $$(cat _build/due); else echo "no notebook is due"; fi

check: check-code book ## everything that needs no execution of a notebook, within a minute
	$(PYTEST) -m 'not notebooks' tests

check-code: .venv/installed
	$(BIN)/ruff check -q . && $(BIN)/ruff format -q --check .
	$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports

run: .venv/installed ## execute NOTEBOOK=part/chapter [SCALE=gpu] [SEED=3] [PROCESSES=4] into _build/runs
	@$(BIN)/python -m $(if $(PROCESSES),torch.distributed.run --standalone --nproc_per_node=$(PROCESSES) -m )tools.notebooks run $(NOTEBOOK) $(if $(SCALE),scale=$(SCALE)) $(if $(SEED),seed=$(SEED)) $(SET)

refresh: .venv/installed ## re-execute NOTEBOOK=part/chapter in place (all without it) and store its outputs
	@$(BIN)/python -m tools.notebooks refresh $(NOTEBOOK)

verify: .venv/installed ## execute and compare NOTEBOOK=part/chapter (without it all that are due); store the fingerprint alone
	@$(BIN)/python -m tools.notebooks verify $(NOTEBOOK)

# Threads and instruction sets round differently; what a page prints must survive that. OMP_WAIT_POLICY only saves time.
STEADY := OMP_NUM_THREADS=2,MKL_NUM_THREADS=2,OMP_WAIT_POLICY=PASSIVE OMP_NUM_THREADS=4,MKL_NUM_THREADS=4,OMP_WAIT_POLICY=PASSIVE \
	ATEN_CPU_CAPABILITY=avx2,ONEDNN_MAX_CPU_ISA=AVX2,MKL_ENABLE_INSTRUCTIONS=AVX2 \
	ATEN_CPU_CAPABILITY=default,ONEDNN_MAX_CPU_ISA=SSE41,MKL_CBWR=COMPATIBLE

steady: .venv/installed ## execute and compare with 2 and 4 threads and older instruction sets [NOTEBOOK=part/chapter]
	@set -e; for setting in $(STEADY); do echo "$$setting"; env $$(echo $$setting | tr , ' ') \
		$(PYTEST) --nbval --nbval-current-env $(if $(NOTEBOOK),book/$(NOTEBOOK).ipynb,book); done

shape: book ## measure in a browser what a reader of each page meets: shares of height, runs of code, captions
	@$(BIN)/python -m tools.shape $(NOTEBOOK)

bench: .venv/installed ## time our code against the alternatives [SUBJECT=fit] [DEVICE=cuda]; STORE=1 puts it on the site
	@$(BIN)/python -m benchmarks $(SUBJECT) $(if $(DEVICE),--device $(DEVICE)) $(if $(STORE),--store)

publish: .venv/installed ## write the site and the Colab copies, with this repository's address, in _build/publish
	@$(BIN)/python -m tools.publish

serve: book ## read the site on http://localhost:8000
	@$(BIN)/python -m http.server --directory _build/html --bind localhost 8000

oldest: .venv/installed ## the unit tests with the oldest versions that pyproject.toml allows (torch 2.11)
	$(BIN)/uv venv -q --clear --python $(BIN)/python _build/oldest
	VIRTUAL_ENV=_build/oldest $(BIN)/uv pip install -q --no-config --resolution lowest-direct -e . pytest==9.2.0 pytest-xdist==3.8.0 \
		hypothesis==6.170.15 beartype==0.23.1 nbval==0.11.0 nbformat==5.11.1 nbclient==0.11.0 ipykernel==7.4.0 \
		timm==1.0.31 pycocotools==2.0.11 transformers==5.24.0 pytorchvideo==0.1.5 av==18.1.0 \
		segmentation-models-pytorch==0.6.0
	DLE_PROGRESS=0 _build/oldest/bin/python -m pytest -n $${WORKERS:-auto} --dist loadfile tests --ignore tests/book

newest: .venv/installed ## put the newest releases into .venv, without the lock; `rm -r .venv` goes back to it
	$(BIN)/uv pip install -q --no-config --upgrade -e '.[book,test]'

lock: .venv/installed ## write requirements.txt anew from pyproject.toml
	$(BIN)/uv pip compile -q pyproject.toml --all-extras --universal --python-version 3.11 \
		--generate-hashes --no-annotate --no-header -o requirements.txt

clean: ## remove what was built; `rm -r .venv` removes the environment too
	rm -rf _build .pytest_cache .ruff_cache .hypothesis

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

.venv/installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -q uv
	@mkdir -p _build
	$(BIN)/uv pip sync -q requirements.txt
	$(BIN)/uv pip install -q --no-deps -e .
	@touch $@
