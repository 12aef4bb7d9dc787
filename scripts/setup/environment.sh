#!/usr/bin/env bash
# Make .venv from the pinned, hashed versions in locks/. Quick when nothing is to do.
#
#   scripts/setup/environment.sh demo|dev
#
# Needs a Python >= 3.11 and a way to the package index; brings uv itself when it is missing.
# Changes nothing outside this folder, unless it is root and must fetch Debian's python3-venv.
source "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"

profile=${1:-}
case $profile in demo | dev) ;; *)
  echo "usage: scripts/setup/environment.sh demo|dev" >&2
  exit 2
  ;;
esac

[ -w . ] || fail "$PWD cannot be written by $(id -un)." \
  "  Clone the repository as this user, or copy it to a folder of your own, and try again."
mkdir -p .cache

# Two makes at a time would fight over .venv.
if command -v flock >/dev/null; then
  exec 9>.cache/setup.lock
  flock 9
fi

# A stamp is the digest of everything the environment is made from. It is written last, so an
# interrupted set-up is simply done again.
stamp_of() { # PROFILE
  { printf '%s\n' "$PWD"; cat "locks/$1.txt" locks/build.txt pyproject.toml; } | sha256sum | cut -d' ' -f1
}
current() { # PROFILE
  [ -x .venv/bin/batchyard ] && [ "$(cat ".venv/.batchyard-$1" 2>/dev/null)" = "$(stamp_of "$1")" ]
}
# The locked versions of demo are among those of dev.
if current "$profile" || { [ "$profile" = demo ] && current dev; }; then
  exit 0
fi

source scripts/lib/uv.sh
need_python
need_uv

if ! { [ -x .venv/bin/python ] && is_new_enough .venv/bin/python; }; then
  say "making .venv with $("$python" --version) ($python)"
  rm -rf .venv
  "$uv" venv -q --python "$python" .venv
fi
say "installing the locked packages of locks/$profile.txt (the first time takes a minute)"
"$uv" pip install -q --python .venv/bin/python --require-hashes -r "locks/$profile.txt" -r locks/build.txt
"$uv" pip install -q --python .venv/bin/python --no-deps --no-build-isolation --editable .
stamp_of "$profile" >".venv/.batchyard-$profile"
say "ready: .venv ($(.venv/bin/python --version))"
