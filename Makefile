# `make quickstart` and `make test` need nothing but Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
DOCUMENTATION := .venv/.documentation

.PHONY: quickstart test check docs install web gpu clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[cpu,development]'
	touch $@

test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 4 --dist worksteal

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 4 --dist worksteal

# The page of nastool demo --web: checks its types and fetches ONNX Runtime for browsers; needs Node.js.
web:
	npm ci --prefix demo/web --ignore-scripts --no-audit --no-fund
	npm run --prefix demo/web build

# The documentation, into site/: a broken link, anchor or reference is an error.
docs: $(DOCUMENTATION)
	$(BIN)/python -m mkdocs build --strict
	@echo "Open site/index.html, or: $(BIN)/python -m http.server --directory site"

$(DOCUMENTATION): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[documentation]'
	touch $@

# What only a GPU can show, in minutes; DEVICE=cpu runs the same small. A bare machine needs no
# install: its own Python serves.
DEVICE ?= cuda:0
gpu:
	$(if $(wildcard .venv),$(BIN)/python,$(PYTHON)) tests/gpu/quarter_hour.py --device $(DEVICE) $(GPU_FLAGS)

# The main job, end to end, on synthetic faces: the commands are those for your own data.
QUICK := quickstart
FACES := synthetic:600
ENCODER := mobilenetv2-0.35

quickstart: install
	rm -rf $(QUICK)
	@echo "=== 1/8  What this machine has"
	$(BIN)/nastool doctor
	@echo "=== 2/8  Measure it (roughly: other programs may run; for your own table leave out the last four flags)"
	$(BIN)/nastool profile-device --encoder $(ENCODER) --input-size 256 --output $(QUICK)/table.json \
	  --seconds 0.03 --fit-networks 16 --certify-networks 12 --max-drift 1000
	@echo "=== 3/8  Pretrain an encoder"
	$(BIN)/nastool pretrain --data $(FACES) --encoder $(ENCODER) --input-size 128 --epochs 2 \
	  --no-augment --output $(QUICK)/encoder
	@echo "=== 4/8  Search"
	$(BIN)/nastool search --data $(FACES) --run $(QUICK)/search --encoder $(ENCODER) \
	  --weights $(QUICK)/encoder/best.pt --latency-table $(QUICK)/table.json --input-size 256 \
	  --objective latency:5ms:-0.2 --trials 10 --rescore 3 \
	  --search-size 128 --images 96 --score-images 32 --batch-size 8
	$(BIN)/nastool report $(QUICK)/search --output $(QUICK)/report.html
	@echo "=== 5/8  Train the best"
	$(BIN)/nastool train --data $(FACES) --run $(QUICK)/search --pick best --input-size 256 --epochs 1 --no-augment \
	  --output $(QUICK)/model
	$(BIN)/nastool evaluate $(QUICK)/model/best.pt --data synthetic:100:1 --split all
	@echo "=== 6/8  Export"
	$(BIN)/nastool export $(QUICK)/model/best.pt --output $(QUICK)/export
	@echo "=== 7/8  Benchmark"
	$(BIN)/nastool benchmark $(QUICK)/export/model.onnx --seconds 2 --latency-table $(QUICK)/table.json
	@echo "=== 8/8  Watch it"
	$(BIN)/nastool faces --data synthetic:24:2 --output $(QUICK)/faces
	$(BIN)/nastool demo --model $(QUICK)/export/model.onnx --source $(QUICK)/faces/images \
	  --output $(QUICK)/frames --no-display
	@echo
	@echo "Made in $(QUICK)/:"
	@echo "  table.json         latency table of this machine      nastool cost GENOTYPE --latency-table"
	@echo "  report.html        the search, to open in a browser"
	@echo "  search/            the run                            nastool pareto $(QUICK)/search"
	@echo "  model/best.pt      the trained network                nastool evaluate"
	@echo "  export/model.onnx  image in, labels out               nastool benchmark"
	@echo "  frames/            what it sees in new faces"
	@echo "Next, with your own data: README.md, 'Your device, your data'."
	@echo "With a camera: $(BIN)/nastool demo --model $(QUICK)/export/model.onnx"

clean:
	rm -rf .venv quickstart build site *.egg-info demo/web/node_modules demo/web/page/onnxruntime
