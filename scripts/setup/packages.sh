#!/usr/bin/env bash
# Install the Debian or Ubuntu packages the tests use, those that are missing and no others.
#
# As root, or with a sudo that asks nothing. Otherwise it says what is missing and which tests
# will be skipped for it, and succeeds: the rest of the suite needs none of them.
source "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"
mkdir -p .cache
log=.cache/apt.log

# what it is looked for by | package | what uses it
wanted='
/usr/sbin/dockerd|docker.io|tests/engines on Docker, the container version of the example
/usr/bin/docker|docker.io|tests/engines on Docker, the container version of the example
/usr/bin/podman|podman|tests/engines on Podman
/usr/sbin/runc|runc|tests/engines on Podman
/usr/bin/aws|awscli|tests/clients with AWS CLI 2
/usr/bin/node|nodejs|tests/clients with the AWS SDK for JavaScript
/usr/bin/npm|npm|tests/clients with the AWS SDK for JavaScript
/usr/bin/mmdebstrap|mmdebstrap|the Debian image of the example, built without a registry
'
missing=() uses=()
while IFS='|' read -r path package use; do
  [ -n "$path" ] || continue
  # Another place on the path is as good, but for aws: the tests mean Debian's own release.
  if [ -x "$path" ] || { [ "$package" != awscli ] && command -v "${path##*/}" >/dev/null; }; then
    continue
  fi
  case " ${missing[*]-} " in *" $package "*) continue ;; esac
  missing+=("$package")
  uses+=("$use")
done <<<"$wanted"
if [ "${#missing[@]}" = 0 ]; then
  exit 0
fi

if [ "$(id -u)" = 0 ]; then
  root=()
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
  root=(sudo -n)
else
  root=(none)
fi
if [ "${root[*]-}" = none ] || ! command -v apt-get >/dev/null; then
  say "these are missing, and $(id -un) may not install them here; what needs them is skipped:"
  for index in "${!missing[@]}"; do
    printf '         %-12s %s\n' "${missing[index]}" "${uses[index]}"
  done
  say "to have them:  sudo apt-get install --no-install-recommends ${missing[*]}"
  exit 0
fi

say "apt-get install ${missing[*]}"
apt() { # ARGUMENTS...
  if ! "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q "$@" >"$log" 2>&1; then
    say "apt-get $1 failed; the last lines of $log:" >&2
    tail -n 5 "$log" >&2
    exit 1
  fi
}
apt update
available=()
for package in "${missing[@]}"; do
  # Not `| grep -q`: it leaves early, and with pipefail the broken pipe would count as "no".
  policy=$(apt-cache policy "$package")
  if [[ $policy == *"Candidate: "[0-9]* ]]; then
    available+=("$package")
  else
    say "this distribution has no package $package; the tests that need it are skipped"
  fi
done
if [ "${#available[@]}" != 0 ]; then
  apt install -y --no-install-recommends "${available[@]}"
fi
