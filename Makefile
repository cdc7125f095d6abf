# Two commands: `make demo` runs the main job, `make test` passes the tests. Both set up what they need.
PYTHON ?= python3
# tests in parallel
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
# a file's tests stay together, for what they share; in their order, as the longest file is the first
PYTEST := $(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
# uv compiles what a call installs and leaves alone what is there, so every call compiles: where
# PYTHONDONTWRITEBYTECODE is set, Python never does, and each import of torch takes half as long again
INSTALL := $(BIN)/uv pip install --compile-bytecode
OLD_LYCORIS := 3.2.0 3.4.0
OLD_PEFT := 0.18.1
OLD := $(OLD_LYCORIS:%=.lycoris/%) $(OLD_PEFT:%=.peft/%)
LOWEST_TORCH ?= $(shell sed -n 's/^torch==//p' constraints.txt)
LOWEST := .lowest/$(LOWEST_TORCH)
# the tests of the pages drive it; any Chromium will do
CHROMIUM ?= $(firstword $(foreach name,chromium chromium-browser google-chrome google-chrome-stable, \
	$(shell command -v $(name) 2>/dev/null)) chromium)
export CHROMIUM
WEB := tests/plugin/web/node_modules/.package-lock.json
# What calls torch, diffusers, transformers, peft, LyCORIS, Pillow, matplotlib and typer. Left out is
# what the oldest peers cannot do: grouped convolutions (such plans are refused), IA3, T-LoRA, presets
# that LyCORIS refuses; and Kandinsky 5, whose processor needs torchvision, which is not there.
LOWEST_PYTEST := $(LOWEST)/bin/pytest -n $(WORKERS) --dist loadfile -m "not slow" \
	tests/cli tests/data/test_images.py tests/measure tests/models tests/show \
	tests/studies/test_training.py tests/targets --ignore tests/targets/test_convolutions.py \
	--deselect "tests/cli/test_generate.py::test_generate_writes_a_configuration_that_verifies_exact[sana]" \
	--deselect "tests/targets/lycoris/test_readback.py::test_other_algorithms_are_read_back_too[ia3]" \
	--deselect tests/targets/lycoris/test_network.py::test_t_lora_takes_seconds_as_the_others_do \
	--deselect tests/targets/kohya/test_preset.py::test_what_lycoris_refuses_is_said \
	--deselect tests/measure/test_sizing.py::test_sparse_attention_takes_sides_of_whole_blocks_alone \
	-k "not kandinsky5"

.PHONY: demo test fast lowest lint docs dist browser clean

demo: $(VENV)/demo.done
	$(BIN)/python scripts/digits_images.py demo/digits --count 200
	$(BIN)/lokr-weighting generate --model digits --data demo/digits --output demo/peft_config.json
	$(BIN)/lokr-weighting verify demo/peft_config.json --model digits
	@echo "Written: demo/peft_config.json, demo/peft_config.plan.json, demo/peft_config.calibration/"

test: $(VENV)/dev.done $(OLD) $(LOWEST)/done browser $(WEB)
	$(PYTEST)
	$(LOWEST_PYTEST)

fast: $(VENV)/dev.done $(OLD)
	$(PYTEST) -m "not slow"

lowest: $(LOWEST)/done
	$(LOWEST_PYTEST)

lint: $(VENV)/dev.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/pyright

docs: $(VENV)/dev.done
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

dist: $(VENV)/dev.done
	rm -rf dist
	$(BIN)/python -m build --installer uv

# what is here, or Debian's where it may be installed
browser:
	@command -v "$(CHROMIUM)" >/dev/null 2>&1 || sh scripts/install_for_pages.sh chromium
	@command -v npm >/dev/null 2>&1 || sh scripts/install_for_pages.sh npm

# what SimpleTuner's page fetches from the net, which the tests do without
$(WEB): tests/plugin/web/package.json | browser
	npm install --prefix tests/plugin/web --no-package-lock --no-audit --no-fund --ignore-scripts
	@touch $@

clean:
	rm -rf $(VENV) .lycoris .peft .lowest demo build dist tests/plugin/web/node_modules

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than Python 3.11; run: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv

$(VENV)/demo.done: pyproject.toml constraints.txt | $(BIN)/uv
	$(INSTALL) --python $(BIN)/python --constraints constraints.txt --editable '.[demo]'
	@touch $@

$(VENV)/dev.done: pyproject.toml constraints.txt | $(BIN)/uv
	$(INSTALL) --python $(BIN)/python --constraints constraints.txt --editable '.[dev]'
	@touch $@

# Other versions of the peers, each in a folder of its own, for the tests that ask them all.
.lycoris/%: | $(BIN)/uv
	$(INSTALL) --python $(BIN)/python --no-deps --target $@ lycoris-lora==$*

.peft/%: | $(BIN)/uv
	$(INSTALL) --python $(BIN)/python --no-deps --target $@ peft==$*

# The lowest version of every dependency that pyproject.toml allows, and that has a wheel for this
# Python (LyCORIS's oldest has none). Only torch is not the lowest but that of constraints.txt, which
# is here already: another is 3 GB to fetch, 5 GB on disk and one to four minutes. After a change of
# a bound: `make lowest LOWEST_TORCH=2.7.0`.
.lowest/%/done: pyproject.toml constraints.txt | $(BIN)/uv
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(@D)
	$(INSTALL) --python $(@D)/bin/python --resolution lowest-direct \
		--only-binary :all: --no-binary lycoris-lora --editable '.[test]' torch==$*
	@touch $@
