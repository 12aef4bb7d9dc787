#!/usr/bin/env bash
# Run every benchmark, or those named: scripts/setup/bench.sh [benchmarks/bench_x.py ...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
scripts/setup/environment.sh dev
shopt -s nullglob
if [ $# = 0 ]; then
  set -- benchmarks/bench_*.py
fi
if [ $# = 0 ]; then
  echo "bench: benchmarks/ has no bench_*.py" >&2
  exit 1
fi
for one in "$@"; do
  printf '\n== %s\n' "$one"
  .venv/bin/python "$one"
done
