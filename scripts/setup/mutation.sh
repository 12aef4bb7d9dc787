#!/usr/bin/env bash
# Change the kernel in small ways and see whether the tests notice; docs/mutation.md tells more.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
scripts/setup/environment.sh dev
.venv/bin/mutmut run "$@"
.venv/bin/python scripts/mutation/report.py
