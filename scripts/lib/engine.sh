# Source after common.sh: what bringing up a container engine takes, whichever engine it is.
# Standard output is for the address alone; all words go to standard error.
say() { printf '%s: %s\n' "$topic" "$*" >&2; }

answers() { # SOCKET
  python3 - "$1" <<'PY'
import http.client, socket, sys
class Unix(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(5)
        self.sock.connect(sys.argv[1])
try:
    c = Unix("engine"); c.request("GET", "/_ping"); sys.exit(c.getresponse().status != 200)
except OSError:
    sys.exit(1)
PY
}
tell_address() { # SOCKET
  printf 'DOCKER_HOST=unix://%s\n' "$1"
}
end_if_it_answers() { # SOCKET
  if answers "$1"; then
    say "an engine already answers on $1"
    tell_address "$1"
    exit 0
  fi
}
install_packages() { # PACKAGES...
  say "installing $*"
  apt-get update -q >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >&2
}
wait_for_answer() { # SOCKET LOG
  local tries=0
  until answers "$1"; do
    tries=$((tries + 1))
    if [ "$tries" -gt 300 ]; then
      say "no answer on $1 within 30 s; the end of $2:"
      tail -n 20 "$2" >&2
      exit 1
    fi
    sleep 0.1
  done
  say "ready"
  tell_address "$1"
}
