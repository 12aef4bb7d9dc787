#!/usr/bin/env bash
# Make .venv from the pinned, hashed versions in locks/. Quick when nothing is to do.
#
#   scripts/setup/environment.sh demo|dev
#
# Needs a Python >= 3.11 and a way to the package index; brings uv itself when it is missing.
# Changes nothing outside this folder, unless it is root and must fetch Debian's python3-venv.
set -euo pipefail

profile=${1:-}
case $profile in demo | dev) ;; *)
  echo "usage: scripts/setup/environment.sh demo|dev" >&2
  exit 2
  ;;
esac
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

say() { printf 'setup: %s\n' "$*"; }
fail() {
  printf 'setup: %s\n' "$@" >&2
  exit 1
}

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

is_new_enough() {
  "$1" -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' 2>/dev/null
}
find_python() {
  local name
  for name in ${BATCHYARD_PYTHON:-} python3 /usr/bin/python3 python3.14 python3.13 python3.12 python3.11; do
    if command -v "$name" >/dev/null && is_new_enough "$name"; then
      "$name" -c 'import sys; print(sys.executable)'
      return
    fi
  done
  return 1
}
if ! python=$(find_python); then
  found=$(python3 --version 2>&1 || true)
  fail "Batchyard needs Python 3.11 or newer, and this machine has: ${found:-none}." \
    "  Debian 12, Ubuntu 24.04 and newer:  apt-get install python3" \
    "  Ubuntu 22.04:                       apt-get install python3.11" \
    "  Elsewhere: install one and name it:  BATCHYARD_PYTHON=/path/to/python3 make $profile"
fi

# A company's own index or certificates, if the machine has them, are for uv too.
if [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ] && [ -n "${PIP_INDEX_URL:-}" ]; then
  export UV_DEFAULT_INDEX=$PIP_INDEX_URL
fi
if [ -e /etc/ssl/certs/ca-certificates.crt ] && [ -z "${SSL_CERT_FILE:-}" ]; then
  export SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
fi
# ORDER: uv must never fetch an interpreter; the one found above is the one that is used.
export UV_PYTHON_DOWNLOADS=never UV_NO_PROGRESS=1
if ! mkdir -p "${UV_CACHE_DIR:-${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/uv}" 2>/dev/null; then
  export UV_CACHE_DIR=$PWD/.cache/uv-cache
fi

find_uv() {
  local one
  for one in "$(command -v uv || true)" .cache/uv/bin/uv .cache/uv/lib/bin/uv; do
    # A shim of a version manager can be on the path and still not work for this user.
    if [ -n "$one" ] && [ -x "$one" ] && "$one" --version >/dev/null 2>&1; then
      printf '%s\n' "$one"
      return
    fi
  done
  return 1
}
bring_uv() {
  rm -rf .cache/uv
  if "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    say "uv is missing: installing it into .cache/uv (python venv)"
    "$python" -m venv .cache/uv
    .cache/uv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r locks/uv.txt
  elif "$python" -m pip --version >/dev/null 2>&1; then
    # PEP 668: an externally managed Python refuses installs into itself, not into a folder.
    say "uv is missing: installing it into .cache/uv (pip)"
    "$python" -m pip install -q --disable-pip-version-check --no-deps --require-hashes \
      --target .cache/uv/lib -r locks/uv.txt
  elif [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "uv is missing and this Python has neither venv nor pip: apt-get install python3-venv"
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q \
      --no-install-recommends python3-venv ca-certificates; } >.cache/apt.log 2>&1 ||
      fail "apt-get failed:" "$(tail -n 5 .cache/apt.log)" "  The whole log: .cache/apt.log"
    "$python" -c 'import ensurepip' 2>/dev/null || fail \
      "$python still has no ensurepip after installing python3-venv." \
      "  It is probably not Debian's own Python; try BATCHYARD_PYTHON=/usr/bin/python3"
    bring_uv
  else
    # An ordinary user cannot install packages, but can download one: Debian's own wheel of pip.
    say "uv is missing and this Python has neither venv nor pip: downloading Debian's pip for this folder"
    rm -rf .cache/pip
    mkdir -p .cache/pip
    if ! (cd .cache/pip && apt-get download python3-pip-whl && dpkg-deb -x ./*.deb .) >.cache/apt.log 2>&1; then
      fail "that failed:" "$(tail -n 3 .cache/apt.log)" "Any one of these helps:" \
        "  sudo apt-get install python3-venv     (then try again)" \
        "  install uv yourself and have it on the PATH"
    fi
    local wheel
    wheel=$(ls .cache/pip/usr/share/python-wheels/pip-*.whl)
    # pip starts from inside its wheel.
    "$python" "$wheel/pip" install -q \
      --disable-pip-version-check --no-deps --require-hashes --target .cache/uv/lib -r locks/uv.txt
  fi
}
if ! uv=$(find_uv); then
  bring_uv
  uv=$(find_uv) || fail "uv was installed into .cache/uv but does not start; remove .cache/uv and try again."
fi

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
