#!/usr/bin/env bash
# Write locks/*.txt again from pyproject.toml: newest versions that fit, with hashes, no index named.
#
#   scripts/setup/lock.sh [--upgrade]
#
# dev is resolved first and binds the others, so that demo, run and image are parts of dev.
source "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"
scripts/setup/environment.sh dev
source scripts/lib/uv.sh
need_uv

compile() { # NAME ARGUMENTS...
  local name=$1
  shift
  echo "locks/$name.txt"
  "$uv" pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
    --no-annotate --no-emit-index-url -o "locks/$name.txt" "${upgrade[@]}" "$@"
}
upgrade=("$@")
inputs=$(mktemp -d)
trap 'rm -rf "$inputs"' EXIT
printf 'parasail\npysam\nmatplotlib\n' >"$inputs/image.in"
printf 'hatchling\neditables\n' >"$inputs/build.in"
printf 'uv\n' >"$inputs/uv.in"
printf 'awscli<2\n' >"$inputs/awscli-v1.in"

compile dev pyproject.toml --extra examples \
  --group test --group lint --group mutation --group bench
upgrade=()
compile run pyproject.toml -c locks/dev.txt
compile demo pyproject.toml --extra examples -c locks/dev.txt
compile image "$inputs/image.in" -c locks/dev.txt
compile build "$inputs/build.in" -c locks/dev.txt
upgrade=("$@")
compile uv "$inputs/uv.in"
compile awscli-v1 "$inputs/awscli-v1.in"
