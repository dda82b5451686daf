# Each target sets up .venv by itself: Python 3.11 and make are all it takes.
# PYTHON=/path/to/python chooses another interpreter for it.

PYTHON ?= $(shell for p in python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
	2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
RUN_DIR ?= runs/digits
EXPORT_DIR ?= exported/digits
VIDEO_RUN_DIR ?= runs/moving_digits
VIDEO_EXPORT_DIR ?= exported/moving_digits

.PHONY: help install train train-video test docs bazel-test benchmark clean

help:
	@echo 'make train       train, evaluate and export a digits classifier'
	@echo 'make train-video the same with clips; and with one frame of each'
	@echo 'make test        the whole test suite'
	@echo 'make docs        the documentation as a website, in build/site'
	@echo 'make bazel-test  tests of layers and configs under Bazel, offline'
	@echo 'make benchmark   time the encoder beside the Model Garden'
	@echo 'make clean       remove .venv'

install: .venv/installed

.venv/installed: setup.py constraints.txt
	@test -n '$(PYTHON)' || { \
		echo 'make: Python 3.11 was not found. Install it, or give' \
			'PYTHON=/path/to/python3.11.' >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python \
		--constraint constraints.txt --editable '.[addons,dev,docs,orbax,tflite]'
	@touch $@

train: install
	$(BIN)/python tf_tokenlearner/train.py --experiment=tokenlearner_digits \
		--mode=train_and_eval --model_dir=$(RUN_DIR) \
		--export_dir=$(EXPORT_DIR)

train-video: install
	$(BIN)/python tf_tokenlearner/train.py \
		--experiment=tokenlearner_moving_digits --mode=train_and_eval \
		--model_dir=$(VIDEO_RUN_DIR) --export_dir=$(VIDEO_EXPORT_DIR)
	@echo
	@echo 'The same model, trained on and shown one frame of each clip'
	@echo '(temporal_stride 0; chance is 0.125):'
	$(BIN)/python tf_tokenlearner/train.py \
		--experiment=tokenlearner_moving_digits --mode=train_and_eval \
		--config_file=official_configs/video/moving_digits_one_frame.yaml \
		--model_dir=$(VIDEO_RUN_DIR)_one_frame

test: install
	$(BIN)/python -m pytest --numprocesses=2 --dist=loadfile

docs: install
	$(BIN)/python tools/config_reference.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict \
		--site-dir=build/site

bazel-test: install
	tools/bazel_offline.sh

benchmark: install
	$(BIN)/python benchmarks/inference.py
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/input_pipeline.py

clean:
	rm -rf .venv
