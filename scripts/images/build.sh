#!/usr/bin/env bash
# Build the image batchyard-variant-calling:1 without a registry: a Debian (or Ubuntu) root from the
# machine's own package mirror, Python, and the pinned wheels of locks/image.txt.
#
#   scripts/images/build.sh            into the Docker Engine that answers
#
# Takes about half a minute, and nothing when the image was made from the same inputs. The root
# also stays as .cache/images/variant-calling.tar, for `podman import` and the like.
source "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"
topic=image
image=batchyard-variant-calling:1
cache=$PWD/.cache/images
tarball=$cache/variant-calling.tar
# mmdebstrap takes the format from the name, so the unfinished file ends in .tar too.
unfinished=$cache/unfinished.tar
mkdir -p "$cache"

docker info >/dev/null 2>&1 || fail "no Docker Engine answers. Start it:  scripts/engines/docker-up.sh"
command -v mmdebstrap >/dev/null || fail "mmdebstrap is missing:  sudo apt-get install mmdebstrap"
[ -x .venv/bin/python ] || scripts/setup/environment.sh demo
source scripts/lib/uv.sh
need_uv

# The mirror and the suite this machine itself installs from.
read -r site suite < <(apt-get indextargets --format '$(SITE) $(CODENAME)' 'Created-By: Packages' 'Component: main' | head -1) ||
  fail "apt knows no package lists yet:  sudo apt-get update"

inputs=$(cat scripts/images/build.sh locks/image.txt <(echo "$site $suite $(uname -m)") | sha256sum | cut -d' ' -f1)
have=$(docker image inspect -f '{{index .Config.Labels "batchyard.inputs"}}' "$image" 2>/dev/null || true)
if [ "$have" = "$inputs" ]; then
  exit 0
fi

if [ "$(cat "$tarball.inputs" 2>/dev/null)" != "$inputs" ] || [ ! -f "$tarball" ]; then
  say "making a $suite root with python3 from $site (no registry)"
  rm -rf "$tarball.inputs" "$unfinished"
  stage=$(mktemp -d)
  trap 'rm -rf "$stage"' EXIT
  mmdebstrap --quiet --variant=minbase --include=python3 \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    "$suite" "$unfinished" "$site"
  version=$(tar tf "$unfinished" | sed -n 's,^\./usr/bin/python\(3\.[0-9]*\)$,\1,p' | head -1)
  [ -n "$version" ] || fail "the root has no /usr/bin/python3.N; is $suite older than expected?"
  say "adding parasail, pysam and matplotlib for Python $version"
  # Debian's Python looks here for what the administrator installed.
  packages=$stage/usr/local/lib/python$version/dist-packages
  mkdir -p "$packages"
  "$uv" pip install -q --no-deps --require-hashes --python .venv/bin/python \
    --python-version "$version" --python-platform "$(uname -m)-unknown-linux-gnu" \
    --only-binary :all: --link-mode copy --target "$packages" -r locks/image.txt
  # Only what is new: an engine refuses a tar that names a folder twice.
  (cd "$stage" && find "${packages#"$stage"/}" -mindepth 1 -maxdepth 1 -printf './%p\n') |
    tar --append --file "$unfinished" --owner=0 --group=0 --directory "$stage" --files-from -
  mv "$unfinished" "$tarball"
  printf '%s\n' "$inputs" >"$tarball.inputs"
fi
say "importing it as $image"
docker import --change "LABEL batchyard.inputs=$inputs" --change 'ENV LANG=C.UTF-8' \
  --change 'CMD ["python3"]' "$tarball" "$image" >/dev/null
