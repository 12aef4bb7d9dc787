# What every script here begins with:
#   source "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"
# Goes to the top of the repository, and lets no command end a script without a word.
set -eEuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
topic=setup
say() { printf '%s: %s\n' "$topic" "$*"; }
fail() { # LINES...
  local line
  for line in "$@"; do say "$line" >&2; done
  exit 1
}
stopped() { # LINE COMMAND
  # A subshell's failure is told by the shell around it.
  if [ "$BASH_SUBSHELL" = 0 ]; then
    say "stopped in $0, line $1: ${2%%$'\n'*}" >&2
  fi
}
trap 'stopped "$LINENO" "$BASH_COMMAND"' ERR
