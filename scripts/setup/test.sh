#!/usr/bin/env bash
# Set up what the tests need, then run them all: style and types first, pytest last.
#
# Arguments go to pytest. With BATCHYARD_REQUIRE_ENGINES=1 (as .ci/run sets it) an engine that does
# not answer is a failure; without it, its tests are skipped and say how to start it.
source "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"
require=${BATCHYARD_REQUIRE_ENGINES:-0}

scripts/setup/environment.sh dev
scripts/setup/packages.sh
scripts/setup/clients.sh

engine() { # NAME COMMAND...
  local name=$1 log=.cache/$1.log
  shift
  if "$@" >"$log" 2>&1; then
    return
  fi
  say "$name did not start; the last lines of $log:"
  tail -n 5 "$log"
  if [ "$require" = 1 ]; then
    say "BATCHYARD_REQUIRE_ENGINES=1, so this is a failure"
    exit 1
  fi
  say "its tests are skipped"
}
if [ "$(id -u)" = 0 ] || docker info >/dev/null 2>&1; then
  say "starting Docker and Podman where they do not answer yet"
  engine docker scripts/engines/docker-up.sh
  engine podman scripts/engines/podman-up.sh
  engine image scripts/images/build.sh
else
  say "no container engine answers and $(id -un) cannot start one; tests/engines is skipped"
fi

say "everything is there after $SECONDS s; now style, types and contracts"
lint_began=$SECONDS
scripts/setup/lint.sh
say "these took $((SECONDS - lint_began)) s; now the tests"
# Where the tests find the clients that scripts/setup/clients.sh installed.
export BATCHYARD_AWS_CLI_V1=$PWD/.cache/clients/awscli-v1/bin/aws
export BATCHYARD_AWS_CLI_V2=/usr/bin/aws
export BATCHYARD_NODE_MODULES=$PWD/.cache/clients/node/node_modules
if [ $# = 0 ]; then
  # The pure parts first, by themselves: every branch of them has a test that needs no luck.
  pure=(tests/unit/kernel tests/unit/scheduler tests/conformance/semantics)
  say "the kernel and the scheduler: every branch must be covered"
  .venv/bin/python -m pytest -q "${pure[@]}" --cov=batchyard.kernel --cov=batchyard.scheduler \
    --cov-branch --cov-report=term-missing:skip-covered --cov-fail-under=100
  set -- "${pure[@]/#/--ignore=}"
fi
# The slowest are named, so that a suite that grows slow says where. pytest's own line stays last.
exec .venv/bin/python -m pytest --durations=25 --durations-min=2 "$@"
