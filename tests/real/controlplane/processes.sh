# shellcheck shell=bash disable=SC2154,SC2016
# Starting, watching and awaiting background programs that belong to one folder. Sourced by up.sh and prometheus.sh after they
# set `dir` (absolute) and `here` (the folder of down.sh). Knows no program by name.
#
# DIR/pids has a line `NAME PID START_TIME` for each, DIR/logs/NAME.log what it said.

# Makes the folder ready, or refuses it while something of it still runs.
prepare() {
  if "$here/down.sh" --alive "$dir"; then
    echo "$0: something of an earlier start still runs in $dir; stop it first: $here/down.sh $dir" >&2
    exit 1
  fi
  mkdir -p "$dir/logs"
  : >"$dir/pids"
  # First of all, so that nothing outlives the parent even when this script is killed half way.
  [ -z "${FOOTPLATE_REAL_PARENT:-}" ] || start watchdog bash -c '
    tail --pid="$1" -s 0.5 -f /dev/null
    "$2/down.sh" "$3"
    [ "$4" != 1 ] || rm -rf "$3"' watchdog "$FOOTPLATE_REAL_PARENT" "$here" "$dir" "${FOOTPLATE_REAL_REMOVE:-0}"
}

require_free() {
  local port
  for port in "$@"; do
    ! answers "$port" || fail "port $port is in use; choose another"
  done
}

# One program, out of reach of the caller's terminal signals; its start time is noted so that a reused pid is never killed.
start() {
  local name=$1 pid
  shift
  setsid "$@" </dev/null >"$dir/logs/$name.log" 2>&1 &
  pid=$!
  echo "$name $pid $(cut -d' ' -f22 "/proc/$pid/stat" 2>/dev/null || echo 0)" >>"$dir/pids"
}

fail() {
  echo "$0: $1" >&2
  "$here/down.sh" "$dir" || true
  exit 1
}

# Repeats a command until it succeeds; a program that ended meanwhile, or half a minute, is a failure that says whose.
await() {
  local what=$1 deadline=$((SECONDS + 90)) name pid
  shift
  until "$@" >/dev/null 2>&1; do
    while read -r name pid _; do
      if [ ! -e "/proc/$pid" ]; then
        tail -n 5 "$dir/logs/$name.log" >&2
        fail "$name ended while waiting for $what; its log is $dir/logs/$name.log"
      fi
    done <"$dir/pids"
    [ $SECONDS -lt $deadline ] || fail "$what: not within 90 s; the logs are in $dir/logs"
    sleep 0.1
  done
}

answers() { (exec 9<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
