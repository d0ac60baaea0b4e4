# VENV=where the environment goes; PYTHON=which interpreter makes it; GPU=1 with CUDA.
VENV ?= .venv
PYTHON ?=
GPU ?=
E2E ?= tests/e2e
# The image's name, and 1 for Beam's worker entry point in it.
IMAGE ?= tfx-irm
BEAM ?=
# How many processes share the unit tests, at most.
WORKERS ?= 4

BIN := $(VENV)/bin
# Any Python that works starts the set-up; it picks the interpreter of the environment.
FIND_PYTHON = for p in $${PYTHON:-} python3 /usr/bin/python3 "$$HOME"/.pyenv/versions/3.*/bin/python3; do \
	if "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 8))' 2>/dev/null; then break; fi; p=; done; \
	if [ -z "$$p" ]; then echo "make venv: no Python was found; install python3 with its venv module." >&2; exit 2; fi
UV_COMPILE = "$(BIN)/uv" pip compile pyproject.toml --no-annotate --quiet --custom-compile-command "make pins"

# What is said to be 1, as an argument of the image.
IMAGE_ARGUMENTS = $(foreach name,GPU BEAM,$(if $(filter 1 true yes,$($(name))),$(name)=1))

.PHONY: help venv demo test test-unit test-e2e test-long lint image check-image format pins clean

help:
	@echo "make demo       set everything up and run the flights example to its verdict"
	@echo "make test       set everything up and run the tests (test-unit, test-e2e)"
	@echo "make test-long  the tests that take long"
	@echo "make venv       the environment alone [VENV=.venv] [PYTHON=python3.10] [GPU=1]"
	@echo "make lint       ruff, mypy, import-linter, hadolint; make format mends what ruff can"
	@echo "make image      the container image, by Docker [IMAGE=tfx-irm] [GPU=1] [BEAM=1]"
	@echo "make check-image  builds it without Docker, as root, and looks at it [GPU=1] [BEAM=1]"
	@echo "make pins       resolve requirements/ anew, keeping what still fits"
	@echo "make clean      remove runs, caches and build folders; keeps the environment"

venv:
	@$(FIND_PYTHON); "$$p" scripts/make_venv.py --venv "$(VENV)" --python "$(PYTHON)" --gpu "$(GPU)"

# Refused by a check (3) is an honest end of the demo; every other failure is one.
demo: venv
	@"$(BIN)/tfx-irm" run examples/flights/config.yaml || { s=$$?; [ $$s -eq 3 ] || exit $$s; }

test: test-unit
	@$(MAKE) --no-print-directory test-e2e

test-unit: venv
	"$(BIN)/python" -m pytest -m "not e2e and not long" -n auto --maxprocesses $(WORKERS) --dist loadfile

test-e2e: venv
	"$(BIN)/python" -m pytest -m "e2e and not long" $(E2E)

test-long: venv
	"$(BIN)/python" -m pytest -m long

lint: venv
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" check --quiet --extend-select D100,D101,D102,D103 pipeline components trainer_module scripts image
	"$(BIN)/ruff" format --check .
	"$(BIN)/mypy"
	"$(BIN)/lint-imports"
	PATH="$(BIN):$$PATH" scripts/check_image.sh lint

# TFX has wheels for this platform alone.
image:
	docker build --platform linux/amd64 --tag "$(IMAGE)" $(IMAGE_ARGUMENTS:%=--build-arg %) \
	  --build-arg REVISION="$$(git rev-parse HEAD 2>/dev/null)" .

check-image:
	scripts/check_image.sh build $(IMAGE_ARGUMENTS)

format: venv
	"$(BIN)/ruff" check --fix .
	"$(BIN)/ruff" format .

pins: venv
	$(UV_COMPILE) --python-version 3.10 --extra dev -o requirements/stack-a.txt
	$(UV_COMPILE) --python-version 3.11 --extra dev --universal -o requirements/stack-b.txt
	$(UV_COMPILE) --python-version 3.10 --extra gpu -c requirements/stack-a.txt \
	  | grep -E '^(#|nvidia-)' > requirements/stack-a-gpu.txt
	$(UV_COMPILE) --python-version 3.11 --extra gpu --universal -c requirements/stack-b.txt \
	  | grep -E '^(#|nvidia-)' > requirements/stack-b-gpu.txt
	$(UV_COMPILE) --python-version 3.11 --universal -c requirements/stack-b.txt -o requirements/stack-b-run.txt

clean:
	rm -rf runs-root examples/*/runs-root examples/*/serving serving build dist *.egg-info
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage htmlcov
	find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +
