#!/usr/bin/env bash
# Set up what the demo needs, then run it: variant calling on real reads, on a yard of its own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
scripts/setup/environment.sh demo
exec .venv/bin/batchyard demo "$@"
