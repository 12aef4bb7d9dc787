#!/usr/bin/env bash
# Set up what the demo needs, then run it: variant calling on real reads, on a yard of its own.
source "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"
scripts/setup/environment.sh demo
exec .venv/bin/batchyard demo "$@"
