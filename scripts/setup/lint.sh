#!/usr/bin/env bash
# Style, types and the contracts between packages.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
scripts/setup/environment.sh dev
export PATH=$PWD/.venv/bin:$PATH
ruff check
ruff format --check
mypy
mypy --strict examples/variant-calling/*.py examples/variant-calling/data/*.py
lint-imports --no-cache
