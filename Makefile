# `make` alone lists the targets. Works with GNU make 3.81 (macOS) and newer.
STACK ?= local
# Tests mostly wait for processes: two at a time on the smallest machine; JOBS=0 for one after the other.
JOBS ?= 2
# What the tools read: handed over in the environment, so that no value is ever parsed by a shell here.
export STACK ENGINE SSH_KEY_FILE TO FINGERPRINT CONFIRM ARGS SERVICE
# Someone's shell settings must not slow ours down (no bytecode) or point uv at another environment.
unexport PYTHONDONTWRITEBYTECODE PYTHONHOME VIRTUAL_ENV

PYTHON := .venv/bin/python
SHELL_SCRIPTS = env.sh .ci/run $(wildcard tools/*.sh scripts/*.sh hostctl/*.sh hostctl/docker-compose.in image/*.sh components/scripts/*.sh)
# Rooms with strict types: pyproject.toml says which.
RUNTIME := tools/bootstrap.sh runtime
DEV := tools/bootstrap.sh dev

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help up preview destroy outputs rollback encrypt trust handover abandon doctor pulumi install test soak lab lab-down check fmt schema clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | awk -F'|' '{ printf "  make %-9s %s\n", $$1, $$2 }'
	@echo; echo "  STACK=local (default), $$(ls Pulumi.*.yaml 2>/dev/null | sed -n 's/^Pulumi\.\(.*\)\.yaml$$/\1/p' | grep -vx local | paste -sd' ' -); ENGINE=standalone|pulumi; SSH_KEY_FILE=…; ARGS='…' for the engine"

up: ## bring the environment STACK to what its stack file says
	@$(RUNTIME)
	@tools/with-agent.sh $(PYTHON) tools/engine.py up

preview: ## show what `make up` would do; touches nothing
	@$(RUNTIME)
	@tools/with-agent.sh $(PYTHON) tools/engine.py preview

destroy: ## take the environment STACK down (keeps data/ and logs/)
	@$(RUNTIME)
	@tools/with-agent.sh $(PYTHON) tools/engine.py destroy

outputs: ## print the stack's outputs as JSON
	@$(RUNTIME)
	@$(PYTHON) tools/engine.py outputs

rollback: ## one service back to its previous generation: SERVICE=NAME (TO=N: to that one); nothing is built or pulled
	@$(RUNTIME)
	@tools/with-agent.sh $(PYTHON) tools/rollback.py

encrypt: ## a secret (typed, or on stdin) as the stack file holds it, without the CLI
	@$(RUNTIME)
	@$(PYTHON) tools/engine.py encrypt

trust: ## show the server's host keys and pin the one that you confirm (FINGERPRINT=SHA256:… without a terminal)
	@$(RUNTIME)
	@$(PYTHON) tools/trust.py

handover: ## give the stack's state to the other engine: TO=pulumi|standalone
	@$(RUNTIME)
	@$(PYTHON) tools/engine.py handover

abandon: ## forget the resources of a server that is gone; nothing is run (CONFIRM=STACK without a terminal)
	@$(RUNTIME)
	@$(PYTHON) tools/abandon.py

doctor: ## what is missing to run STACK from here, each with its cure
	@$(RUNTIME) || :
	@python=$(PYTHON); [ -x $$python ] || python=$$(tools/bootstrap.sh python) && $$python tools/doctor.py

pulumi: ## install the Pulumi CLI into .uv/pulumi (optional)
	@$(RUNTIME)
	@$(PYTHON) tools/get_pulumi.py

install: ## what `make up` and `make test` install first: a uv and everything in uv.lock, into .uv and .venv
	@$(DEV)

test: ## prove the program: every tier that can run, and why the others did not
	@$(DEV)
	@$(PYTHON) -m tests.packages || :
	@$(PYTHON) -m pytest --all-tiers -n $(JOBS) --dist loadfile $(ARGS)

soak: ## the same with SOAK=1: longer, with more random examples
	@$(DEV)
	@$(PYTHON) -m tests.packages || :
	@SOAK=1 $(PYTHON) -m pytest --all-tiers -n $(JOBS) --dist loadfile $(ARGS)

lab: ## two simulated servers to try the stacks on (Linux, root); says how to reach them
	@$(RUNTIME)
	@$(PYTHON) tools/lab.py up

lab-down: ## remove what `make lab` started
	@$(RUNTIME)
	@$(PYTHON) tools/lab.py down

check: ## format, lint, types, walls between the rooms, shell scripts, lock file, schema
	@$(DEV)
	@$(PYTHON) tools/check.py $(SHELL_SCRIPTS)

fmt: ## format and mend what can be mended
	@$(DEV)
	@.venv/bin/ruff check --fix-only --quiet .
	@.venv/bin/ruff format .

schema: ## write the JSON Schema that editors use for the stack files
	@$(DEV)
	@$(PYTHON) -m plan.schema

clean: ## remove what tests and tools left (never an environment, its state or its data)
	@rm -rf build .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -not -path './.venv/*' -not -path './.uv/*' -not -path './.local/*' -prune -exec rm -rf {} +
