#!/usr/bin/env bash
# Style, types and the contracts between packages.
source "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"
scripts/setup/environment.sh dev
export PATH=$PWD/.venv/bin:$PATH
ruff check
ruff format --check
mypy
mypy --strict examples/variant-calling/*.py examples/variant-calling/data/*.py
lint-imports --no-cache
