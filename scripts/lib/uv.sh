# Source after common.sh: `need_uv` sets $uv, and brings uv into .cache/uv where it is missing.

# A company's own index or certificates, if the machine has them, are for uv too.
if [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ] && [ -n "${PIP_INDEX_URL:-}" ]; then
  export UV_DEFAULT_INDEX=$PIP_INDEX_URL
fi
if [ -e /etc/ssl/certs/ca-certificates.crt ] && [ -z "${SSL_CERT_FILE:-}" ]; then
  export SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
fi
# ORDER: uv must never fetch an interpreter; the one that need_python finds is the one that is used.
export UV_PYTHON_DOWNLOADS=never UV_NO_PROGRESS=1
if ! mkdir -p "${UV_CACHE_DIR:-${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/uv}" 2>/dev/null; then
  export UV_CACHE_DIR=$PWD/.cache/uv-cache
fi

is_new_enough() { # PYTHON
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
need_python() {
  if python=$(find_python); then
    return
  fi
  local found
  found=$(python3 --version 2>&1 || true)
  fail "Batchyard needs Python 3.11 or newer, and this machine has: ${found:-none}." \
    "  Debian 12, Ubuntu 24.04 and newer:  apt-get install python3" \
    "  Ubuntu 22.04:                       apt-get install python3.11" \
    "  Elsewhere: install one and name it:  BATCHYARD_PYTHON=/path/to/python3 make demo"
}

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
need_uv() {
  if uv=$(find_uv); then
    return
  fi
  need_python
  bring_uv
  uv=$(find_uv) || fail "uv was installed into .cache/uv but does not start; remove .cache/uv and try again."
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
