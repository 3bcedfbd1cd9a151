#!/usr/bin/env bash
# A real Prometheus (the Debian package) that scrapes one loopback port every few seconds and keeps its data in a folder. Starts it and
# waits until it answers queries; what is measured is the caller's business.
#
#   prometheus.sh DIR PORT TARGET_PORT [SECONDS]       stop it with controlplane/down.sh DIR; FOOTPLATE_REAL_PARENT as in up.sh
set -euo pipefail
[ $# -eq 3 ] || [ $# -eq 4 ] || { echo "usage: prometheus.sh DIR PORT TARGET_PORT [SECONDS]" >&2; exit 2; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/controlplane" && pwd)
mkdir -p "$1"
dir=$(cd "$1" && pwd) port=$2 target=$3 every=${4:-5}
command -v prometheus >/dev/null || { echo "prometheus.sh: prometheus is not on PATH (Debian package prometheus)" >&2; exit 1; }

. "$here/processes.sh"
prepare
require_free "$port"
cat >"$dir/prometheus.yml" <<END
global: {scrape_interval: ${every}s, scrape_timeout: $((every > 4 ? 4 : every))s}
scrape_configs:
  - job_name: traffic
    static_configs: [{targets: ["127.0.0.1:$target"]}]
END
start prometheus prometheus --config.file="$dir/prometheus.yml" --storage.tsdb.path="$dir/data" \
  --storage.tsdb.retention.time=6h --web.listen-address="127.0.0.1:$port" --log.level=warn
ready() { exec 9<>"/dev/tcp/127.0.0.1/$port" && printf 'GET /-/ready HTTP/1.0\r\n\r\n' >&9 && grep -q ' 200 ' <&9; }
await "Prometheus" eval '(ready)'
echo "http://127.0.0.1:$port"
