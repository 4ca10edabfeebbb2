# `make quickstart` and `make test` need nothing but Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: quickstart test check install clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[development]'
	touch $@

test: install
	$(BIN)/python -m pytest

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

# The main job, end to end, on synthetic faces: the commands are those for your own data.
QUICK := quickstart
FACES := synthetic:600
ENCODER := mobilenetv2-0.35

quickstart: install
	rm -rf $(QUICK)
	@echo "--- 1/8  what this machine has"
	$(BIN)/nastool doctor
	@echo "--- 2/8  measure it"
	$(BIN)/nastool profile-device --encoder $(ENCODER) --input-size 256 --seconds 0.05 \
	  --fit-networks 20 --certify-networks 20 --max-drift 60 --output $(QUICK)/table.json
	@echo "--- 3/8  pretrain an encoder"
	$(BIN)/nastool pretrain --data $(FACES) --encoder $(ENCODER) --input-size 128 --epochs 3 \
	  --output $(QUICK)/encoder
	@echo "--- 4/8  search"
	$(BIN)/nastool search --data $(FACES) --run $(QUICK)/search --encoder $(ENCODER) \
	  --weights $(QUICK)/encoder/best.pt --latency-table $(QUICK)/table.json \
	  --objective latency:5ms:-0.2 --trials 12 --input-size 256 \
	  --search-size 128 --search-images 128 --search-validation 32
	$(BIN)/nastool report $(QUICK)/search --output $(QUICK)/report.html
	@echo "--- 5/8  train the best"
	$(BIN)/nastool train --data $(FACES) --run $(QUICK)/search --pick best \
	  --weights $(QUICK)/encoder/best.pt --input-size 256 --epochs 3 --output $(QUICK)/model
	$(BIN)/nastool evaluate $(QUICK)/model/best.pt --data synthetic:100:1
	@echo "--- 6/8  export"
	$(BIN)/nastool export $(QUICK)/model/best.pt --onnx --output $(QUICK)/export
	@echo "--- 7/8  benchmark"
	$(BIN)/nastool benchmark $(QUICK)/export/model.onnx --seconds 2 --latency-table $(QUICK)/table.json
	@echo "--- 8/8  watch it"
	$(BIN)/nastool faces --data synthetic:24:2 --output $(QUICK)/faces
	$(BIN)/nastool demo --model $(QUICK)/export/model.onnx --source $(QUICK)/faces \
	  --output $(QUICK)/frames --no-display

clean:
	rm -rf .venv quickstart build *.egg-info
