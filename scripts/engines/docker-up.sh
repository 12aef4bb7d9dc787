#!/usr/bin/env bash
# Make a Docker Engine answer on this machine, and say where. Idempotent.
#   scripts/engines/docker-up.sh            prints `DOCKER_HOST=unix:///...` on its last line
# Installs Debian's docker.io when dockerd is missing (needs root). Where systemd runs, systemd starts
# it; elsewhere (containers, CI) dockerd is started by hand with --live-restore, so that jobs survive
# a restart of the daemon.
source "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"
source scripts/lib/engine.sh
topic=docker-up
SOCKET=/var/run/docker.sock
LOG=${DOCKERD_LOG:-/var/log/dockerd.log}

end_if_it_answers "$SOCKET"
[ "$(id -u)" = 0 ] || fail "no engine answers on $SOCKET and only root can start one: run 'sudo $0'"
command -v dockerd >/dev/null || install_packages docker.io
if [ -d /run/systemd/system ]; then
  systemctl start docker >&2
else
  # Not `service docker start`: Debian's init script raises ulimit -n first and dies where it may not.
  say "starting dockerd by hand, log in $LOG"
  setsid nohup dockerd --live-restore >>"$LOG" 2>&1 </dev/null &
fi
wait_for_answer "$SOCKET" "$LOG"
