# Development commands. They need Python 3.11 or newer and make; the first one that installs anything needs a package
# index. `make` by itself lists them.

VENV := .venv
BIN := $(VENV)/bin
# The interpreter that the environment is made with; the first that is new enough otherwise.
PYTHON ?=
# Two more than two cores: the tests wait for other processes for a third of their time.
WORKERS ?= 4
CODE := src tests bench docs

# A checkout that lies in another file system than the cache cannot be linked to it: copying says nothing and works.
export UV_LINK_MODE ?= copy
# Nothing that runs here may ask a question, page its output or phone home.
export PIP_NO_INPUT := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# mkdocs-material prints an advertisement at every build.
export NO_MKDOCS_2_WARNING := 1
# Or each of the hundreds of processes that the tests start compiles everything anew.
export PYTHONDONTWRITEBYTECODE :=
# The code is checked while Chromium is installed.
MAKEFLAGS += --jobs=2
# Git does not tell the tests which clone they belong to.
unexport GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv check test verify demo docs format bench browser clean lock

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

venv: $(VENV)/.dev ## make .venv with what the tests need

test: check $(VENV)/.collected $(VENV)/.browser $(VENV)/.mcp1 $(VENV)/.openai $(VENV)/.openai-agents $(VENV)/.adk $(VENV)/.inspect-ai $(VENV)/.crewai $(VENV)/.typescript ## the same, the documentation and the fast tests (eight minutes on two cores, installation included)
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal

check: $(VENV)/.dev ## formatting, lint, types, import order
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports

verify: check $(VENV)/.collected $(VENV)/.bench $(VENV)/.browser $(VENV)/.mcp1 $(VENV)/.openai $(VENV)/.openai-agents $(VENV)/.adk $(VENV)/.inspect-ai $(VENV)/.crewai $(VENV)/.typescript $(VENV)/.packs $(VENV)/.claude-agent ## every test at full size, crash tests, benchmarks against their bounds (an hour)
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal -m "" --hypothesis-profile=thorough
	$(BIN)/python bench/bounds.py

bench: $(VENV)/.bench ## the benchmarks against their bounds, alone
	$(BIN)/python bench/bounds.py

demo: $(VENV)/.demo ## four agents under attack, and one that you decide about in a browser (under 5 minutes)
	@$(BIN)/python bench/demo.py

docs: $(VENV)/.dev ## the documentation site, into site/
	$(BIN)/mkdocs build --strict --site-dir site

format: $(VENV)/.dev ## format the code and apply the safe fixes
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

browser: $(VENV)/.browser ## make a Chromium available to the console's tests

clean: ## remove everything that was built, the environment too
	rm -rf $(VENV) site dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .fiducial

lock: $(VENV)/.dev ## renew constraints.txt, the versions that all of this runs with
	$(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --all-extras --no-header --no-annotate \
	  --no-emit-index-url pyproject.toml -o constraints.txt

# The environment. A stamp a set of extras, so that `make demo` installs no more than it needs; each is made again when
# what is installed, or how it is built, changes. The constraints are for this environment and not for those who install the
# package: a release of a linter must not fail a change that has nothing to do with it. uv installs in a tenth of pip's
# time; where only pip is set up to reach an index, pip does it.

define install
	@echo "installing .[$(1)]"
	@$(BIN)/uv --version >/dev/null 2>&1 || $(BIN)/python -m pip install -q uv || true
	@$(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt -e '.[$(1)]' || \
	  $(BIN)/python -m pip install -q -c constraints.txt -e '.[$(1)]'
	@touch $@
endef

BUILT := pyproject.toml constraints.txt hatch_build.py $(wildcard src/fiducial/*/*.pyx src/fiducial/*/*/*.pyx)

$(VENV)/.demo: $(BUILT) | $(BIN)/python
	$(call install,demo)

$(VENV)/.dev: $(BUILT) | $(BIN)/python
	$(call install,dev$(comma)demo$(comma)docs$(comma)console$(comma)mcp$(comma)postgres$(comma)analytics$(comma)witness$(comma)s3$(comma)langchain$(comma)ner$(comma)otel-grpc$(comma)pydantic-ai)
	@touch $(VENV)/.demo

# What cannot be installed together with the rest: each has a folder of its own in the environment.
define apart
	@$(BIN)/uv pip install -q --python $(BIN)/python --target $(VENV)/$(1) $(2) || \
	  $(BIN)/python -m pip install -q --target $(VENV)/$(1) $(2)
endef

# The MCP SDK of the major version before, which clients still have.
$(VENV)/.mcp1: | $(VENV)/.dev
	$(call apart,mcp1,'mcp>=1.30$(comma)<2')
	@touch $@

# OpenAI's SDK as it is today: what one of the benchmarks is held against needs the major version before last.
$(VENV)/.openai: | $(VENV)/.dev
	$(call apart,openai,'openai>=3.54$(comma)<4')
	@touch $@

# The OpenAI Agents SDK's version of websockets excludes LangGraph's, and so does that of Google's ADK.
$(VENV)/.openai-agents: | $(VENV)/.dev
	$(call apart,openai-agents,'openai-agents>=0.24$(comma)<0.25')
	@touch $@

$(VENV)/.adk: | $(VENV)/.dev
	$(call apart,adk,'google-adk>=2.13$(comma)<3')
	@touch $@

# Inspect's version of botocore excludes moto's. Its Sentinels come without what they need to read recorded transcripts, which is
# larger than all the rest.
$(VENV)/.inspect-ai: | $(VENV)/.dev
	$(call apart,inspect-ai,'inspect-ai>=0.3.285$(comma)<0.4')
	$(call apart,inspect-ai,--no-deps 'inspect-sentinel>=0.2$(comma)<0.3')
	@touch $@

# CrewAI needs the earlier MCP SDK, and 830 MB.
$(VENV)/.crewai: | $(VENV)/.dev
	$(call apart,crewai,'crewai>=1.15.30$(comma)<1.16')
	@touch $@

# The SDKs of OpenAI and Anthropic in TypeScript, as the agents of others have them.
$(VENV)/.typescript: | $(VENV)/.dev
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/npm install --silent --no-audit --no-fund --prefix $(VENV)/typescript \
	  openai@^7.57 @anthropic-ai/sdk@^1.12
	@touch $@

# The servers that contract packs were held against, in the versions that the packs name; `make test` leaves them out.
$(VENV)/.packs: $(wildcard src/fiducial/charter/packs/*.yaml) | $(VENV)/.dev
	@$(BIN)/python tests/gateway/install_packs.py $(VENV)/packs
	@touch $@

# The Claude Agent SDK brings Claude Code, which is 400 MB: `make test` leaves it out.
$(VENV)/.claude-agent: | $(VENV)/.dev
	$(call apart,claude-agent,'claude-agent-sdk>=0.2.187$(comma)<0.3')
	@touch $@

# Everything that the tests import is compiled once, and not by each of their processes.
$(VENV)/.collected: $(VENV)/.dev
	@$(BIN)/python -m pytest -q --collect-only >$@ || { cat $@; rm $@; exit 1; }

# What the benchmarks need and not the package, which would be missing for a moment while the code is checked.
$(VENV)/.bench: $(VENV)/.dev
	@echo "installing what [bench] needs"
	@$(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt -r pyproject.toml --extra bench || \
	  $(BIN)/python -m pip install -q -c constraints.txt -e '.[bench]'
	@touch $@

# The system's Chromium, or Debian's, or the one that Playwright brings. Without any, the tests that need a browser say
# so and are left out: whoever is offline can still run all others.
$(VENV)/.browser: | $(VENV)/.dev
	@command -v chromium chromium-browser google-chrome >/dev/null || \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && \
	    apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null; } || \
	  $(BIN)/python -m playwright install chromium-headless-shell || echo "no Chromium: its tests are left out" >&2
	@touch $@

comma := ,

$(BIN)/python:
	@for python in $(PYTHON) python3.11 python3.12 python3.13 python3; do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    "$$python" -m venv $(VENV) && exit 0; \
	    echo "\`$$python\` cannot make a virtual environment: install its venv module" >&2; rm -rf $(VENV); exit 1; \
	  fi; \
	done; \
	echo "no Python 3.11 or newer: install one, or name it with \`make PYTHON=/path/to/python\`" >&2; exit 1
