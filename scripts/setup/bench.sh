#!/usr/bin/env bash
# Run every benchmark, or those named: scripts/setup/bench.sh [benchmarks/submit_rate.py ...]
# Each prints its own lines: what was measured, side by side, and the target. Together they take
# some minutes; nothing else should run on the machine.
source "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"
scripts/setup/environment.sh dev
if [ $# = 0 ]; then
  # lab.py is what the benchmarks share.
  mapfile -t found < <(ls benchmarks/*.py | grep -v '/lab\.py$')
  set -- "${found[@]}"
fi
failed=()
for one in "$@"; do
  printf '\n== %s\n' "$one"
  # One that fails must not hide what the others measure.
  .venv/bin/python "$one" || failed+=("$one")
done
if [ "${#failed[@]}" != 0 ]; then
  printf '\nbench: these failed: %s\n' "${failed[*]}" >&2
  exit 1
fi
