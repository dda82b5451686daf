# Each target sets up .venv by itself; it needs make and a Python from 3.10 to
# 3.13. PYTHON=/path/to/python chooses the interpreter.

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.10 python3; \
	do $$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' \
	2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
RUN_DIR ?= runs/digits
EXPORT_DIR ?= exported/digits
VIDEO_RUN_DIR ?= runs/moving_digits
VIDEO_EXPORT_DIR ?= exported/moving_digits

# For make test-pythons; default: each of 3.12, 3.13 and 3.10 that is found.
PYTHONS ?=
# For make constraints: UPGRADE=--upgrade takes the newest versions.
UPGRADE ?=

# Compiled files make TensorFlow's import three times as fast.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install constraints train train-video test test-pythons docs \
	bazel-test benchmark clean

help:
	@echo 'make train       train, evaluate and export a digits classifier'
	@echo 'make train-video the same with clips; and with one frame of each'
	@echo 'make test        the whole test suite'
	@echo 'make test-pythons the main job on Python 3.12, 3.13 and 3.10'
	@echo 'make docs        the documentation as a website, in build/site'
	@echo 'make bazel-test  tests of layers and configs under Bazel, offline'
	@echo 'make benchmark   time the encoder beside the Model Garden'
	@echo 'make constraints update constraints.txt after a change to setup.py'
	@echo 'make clean       remove .venv and those of test-pythons'

install: .venv/installed

.venv/installed: setup.py constraints.txt
	@test -n '$(PYTHON)' || { \
		echo 'make: found no Python from 3.10 to 3.13. Install one, or give' \
			'PYTHON=/path/to/python.' >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python \
		--constraint constraints.txt \
		--editable '.[addons,dev,docs,hub,orbax,tflite]'
	@touch $@

constraints: install
	$(BIN)/uv pip compile setup.py --extra=addons --extra=dev --extra=docs \
		--extra=hub --extra=orbax --extra=tflite --universal \
		--python-version=3.10 --no-annotate --quiet \
		--custom-compile-command='make constraints' \
		--output-file=constraints.txt $(UPGRADE)

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

test-pythons: install
	tools/test_pythons.sh $(PYTHONS)

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
	rm -rf .venv .venv-*
