#!/usr/bin/env bash
# Change the kernel in small ways and see whether the tests notice; docs/mutation.md tells more.
source "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"
scripts/setup/environment.sh dev
.venv/bin/mutmut run "$@"
.venv/bin/python scripts/mutation/report.py
