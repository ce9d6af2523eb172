# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# make demo | test | bench | lint | unit | integration | agent | docs | dist | clean

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

BIN := .venv/bin
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/.build
export ANSIBLE_HOME := $(CURDIR)/.build/ansible
export PYTHONPATH := $(CURDIR)/tests:$(CURDIR)/.build
AGENT_BUILD := .build/agent
AGENT_SHIPPED := roles/agent/files/hotpatch-agent.exe

.PHONY: help setup demo test bench lint format unit matrix integration agent docs dist clean

help:  ## say what each target does
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

setup:
	@tests/setup/prepare

agent: setup  ## cross-compile the agent and put it where the role ships it from
	@[ -f $(AGENT_BUILD)/build.ninja ] || cmake -S agent -B $(AGENT_BUILD) -G Ninja \
	    -DCMAKE_TOOLCHAIN_FILE=$(CURDIR)/agent/cmake/mingw-w64.cmake >.build/agent-configure.log
	@cmake --build $(AGENT_BUILD) -- --quiet
	@mkdir -p $(dir $(AGENT_SHIPPED))
	@cmp -s $(AGENT_BUILD)/hotpatch-agent.exe $(AGENT_SHIPPED) || cp $(AGENT_BUILD)/hotpatch-agent.exe $(AGENT_SHIPPED)

demo: agent  ## the quarter of a small fleet, on real Windows programs
	@$(BIN)/python -m demo

test: agent  ## every check and every test
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory matrix
	@$(BIN)/pytest $(PYTEST_ARGS)

bench: agent  ## what a hotpatch costs: a table and a picture
	@$(BIN)/python -m benchmarks

unit: agent  ## the fast tests only
	@$(BIN)/pytest tests/unit $(PYTEST_ARGS)

matrix: setup  ## the fast tests on every newer Python that this machine has
	@tests/setup/matrix

integration: agent  ## the tests on hosts of the lab only
	@$(BIN)/pytest tests/integration agent/tests $(PYTEST_ARGS)

lint: agent  ## every static check
	@tests/setup/lint

format: setup  ## bring every file into the form that lint asks for
	@$(BIN)/ruff check --fix -q . && $(BIN)/ruff format -q .
	@git ls-files '*.cpp' '*.hpp' '*.c' '*.h' | xargs -r clang-format -i

docs: setup  ## bring generated pages up to date
	@$(BIN)/python agent/tools/generate_errors.py --docs docs/errors.md

dist: agent  ## the collection as one archive, agent included
	@mkdir -p dist && $(BIN)/ansible-galaxy collection build --force --output-path dist .

clean:  ## remove everything that was made
	@[ ! -x $(BIN)/python ] || $(BIN)/python -m lab down --all || true
	@rm -rf .build .venv dist $(AGENT_SHIPPED) .pytest_cache .mypy_cache .ruff_cache .ansible
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
