#!/usr/bin/env bash
# Stops what up.sh started in a folder, at once: nothing in it is worth an orderly end. Touches no other process, not even one
# that was given the pid of a dead one.
#
#   down.sh DIR            stops everything
#   down.sh --alive DIR    only says, by its exit code, whether any of it runs
set -euo pipefail
only_ask=
if [ "${1:-}" = --alive ]; then only_ask=1; shift; fi
[ $# -eq 1 ] || { echo "usage: down.sh [--alive] DIR" >&2; exit 2; }
dir=$1
[ -e "$dir/pids" ] || exit $((${only_ask:-0}))

alive() { [ "$(cut -d' ' -f22 "/proc/$1/stat" 2>/dev/null)" = "$2" ]; }
watchdog=
found=1
while read -r name pid born; do
  alive "$pid" "$born" || continue
  found=0
  [ -z "$only_ask" ] || continue
  # The watchdog may be who calls this: it ends by itself, or last.
  if [ "$name" = watchdog ]; then watchdog=$pid; else kill -KILL "$pid" 2>/dev/null || true; fi
done <"$dir/pids"
[ -z "$only_ask" ] || exit $found
rm -f "$dir/pids"
if [ -n "$watchdog" ] && [ "$watchdog" != "$PPID" ]; then
  kill -KILL -- "-$watchdog" 2>/dev/null || true
fi
