#!/usr/bin/env bash
# Change the kernel in small ways and see whether the tests notice; survivors are listed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
scripts/setup/environment.sh dev
.venv/bin/mutmut run "$@"
.venv/bin/mutmut results
