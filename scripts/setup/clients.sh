#!/usr/bin/env bash
# Install the unmodified AWS clients the tests drive, each into its own folder below .cache/clients:
# AWS CLI 1 from PyPI (its own environment: it pins its own botocore) and the AWS SDK for JavaScript.
source "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"
source scripts/lib/uv.sh
digest() { cat "$@" | sha256sum | cut -d' ' -f1; }
target=$PWD/.cache/clients
mkdir -p "$target"
need_uv

stamp=$(digest locks/awscli-v1.txt)
if [ "$(cat "$target/awscli-v1/.stamp" 2>/dev/null)" != "$stamp" ]; then
  say "installing AWS CLI 1 into .cache/clients/awscli-v1"
  rm -rf "$target/awscli-v1"
  "$uv" venv -q --python .venv/bin/python "$target/awscli-v1"
  "$uv" pip install -q --python "$target/awscli-v1/bin/python" --require-hashes -r locks/awscli-v1.txt
  printf '%s\n' "$stamp" >"$target/awscli-v1/.stamp"
fi

if command -v npm >/dev/null; then
  stamp=$(digest scripts/setup/clients/package.json scripts/setup/clients/package-lock.json)
  if [ "$(cat "$target/node/.stamp" 2>/dev/null)" != "$stamp" ]; then
    say "installing @aws-sdk/client-batch into .cache/clients/node"
    rm -rf "$target/node"
    mkdir -p "$target/node"
    cp scripts/setup/clients/package.json scripts/setup/clients/package-lock.json "$target/node/"
    (cd "$target/node" && npm ci --silent --ignore-scripts --no-audit --no-fund)
    printf '%s\n' "$stamp" >"$target/node/.stamp"
  fi
fi
