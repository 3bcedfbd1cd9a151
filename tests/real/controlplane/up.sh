#!/usr/bin/env bash
# A real Kubernetes control plane on loopback, without containers: etcd, kube-apiserver, kube-controller-manager,
# kube-scheduler, kwok (fake nodes, fake pods that become ready at once), the Argo Rollouts controller and Flagger.
# Starts what build.sh built, waits until it answers, and returns; holds no test of its own and builds nothing but what is missing.
#
#   up.sh DIR [PORTBASE]       PORTBASE 21000 if not given; ten ports from there on belong to this control plane
#
# Writes DIR/kubeconfig (contexts `dev`: may do anything; `viewer`: a user to whom no role is bound), DIR/env (to be sourced:
# KUBECONFIG and PATH), DIR/pids and DIR/logs (audit.jsonl: the writes that matter, with their bodies). `down.sh DIR` stops
# it. With FOOTPLATE_REAL_PARENT=PID it stops by itself when that process ends, and with FOOTPLATE_REAL_REMOVE=1 DIR goes with
# it. With FOOTPLATE_REAL_BARE=1 only etcd and the API server run: nothing changes what is written there by hand (the benches
# use that).
#
# PORTBASE +0 apiserver  +1 etcd  +2 etcd peer  +3 rollouts metrics  +4 rollouts health  +5 flagger
#          +6 free for the caller's Prometheus (Flagger asks there)  +7 free for what that Prometheus scrapes  +8 +9 spare
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ $# -ge 1 ] || { echo "usage: up.sh DIR [PORTBASE]" >&2; exit 2; }
mkdir -p "$1"
dir=$(cd "$1" && pwd)
base=${2:-21000}

command -v openssl >/dev/null || { echo "up.sh: openssl is not on PATH" >&2; exit 1; }
. "$here/processes.sh"

bins=$("$here/build.sh" | paste -sd:)
share() { local part; part=$("$here/build.sh" --print "$1"); echo "${part%/bin}/share"; }
export PATH="$bins:$PATH"

prepare
require_free $(seq "$base" $((base + 5)))
rm -rf "$dir"/{etcd,certs,config,kubeconfig,env}
mkdir -p "$dir"/{certs,config}
mkdir -m 0700 "$dir/etcd"
api=https://127.0.0.1:$base etcd=http://127.0.0.1:$((base + 1)) peer=http://127.0.0.1:$((base + 2))

openssl genrsa -out "$dir/certs/sa.key" 2048 2>/dev/null
openssl rsa -in "$dir/certs/sa.key" -pubout -out "$dir/certs/sa.pub" 2>/dev/null
admin=$(openssl rand -hex 16) viewer=$(openssl rand -hex 16)
cat >"$dir/certs/tokens.csv" <<END
$admin,admin,admin,"system:masters"
$viewer,viewer,viewer,"viewers"
END

# What changed a workload, who conducts, and what was ordered, write by write, in the order in which the server took them: no
# watch can prove that something was never sent.
cat >"$dir/config/audit.yaml" <<END
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Request
    verbs: [create, patch]
    resources:
      - {group: argoproj.io, resources: [rollouts, rollouts/status]}
      - {group: apps, resources: [deployments]}
      - {group: core.openfeature.dev, resources: [featureflags]}
      - {group: releases.footplate.dev, resources: [releases]}
      - {group: coordination.k8s.io, resources: [leases]}
  - level: None
END

start etcd etcd --name=only --unsafe-no-fsync --log-level=warn --data-dir="$dir/etcd" \
  --listen-client-urls="$etcd" --advertise-client-urls="$etcd" \
  --listen-peer-urls="$peer" --initial-advertise-peer-urls="$peer" --initial-cluster="only=$peer"

start kube-apiserver kube-apiserver --etcd-servers="$etcd" --secure-port="$base" --bind-address=127.0.0.1 \
  --cert-dir="$dir/certs" --token-auth-file="$dir/certs/tokens.csv" --authorization-mode=RBAC \
  --service-account-issuer="$api" --service-account-key-file="$dir/certs/sa.pub" \
  --service-account-signing-key-file="$dir/certs/sa.key" --service-cluster-ip-range=10.0.0.0/24 \
  --disable-admission-plugins=ServiceAccount,TaintNodesByCondition --endpoint-reconciler-type=none \
  --audit-policy-file="$dir/config/audit.yaml" --audit-log-path="$dir/logs/audit.jsonl" \
  --max-requests-inflight=800 --max-mutating-requests-inflight=400

# The server makes its own certificate; whoever reads the kubeconfig can and does verify it.
await "the certificate of the API server" test -s "$dir/certs/apiserver.crt"
ca=$(base64 -w0 "$dir/certs/apiserver.crt")
cat >"$dir/config/kubeconfig" <<END
apiVersion: v1
kind: Config
clusters:
  - {name: real, cluster: {server: "$api", certificate-authority-data: "$ca"}}
users:
  - {name: admin, user: {token: "$admin"}}
  - {name: viewer, user: {token: "$viewer"}}
contexts:
  - {name: dev, context: {cluster: real, user: admin}}
  - {name: viewer, context: {cluster: real, user: viewer}}
current-context: dev
END
chmod 0600 "$dir/config/kubeconfig"
export KUBECONFIG=$dir/config/kubeconfig
# Discovery is cached by host and port: another control plane's, on a port used before, must not be taken for this one's.
k() { kubectl --cache-dir="$dir/config/kubectl-cache" "$@"; }

await "the API server" k get --raw /readyz

bare=${FOOTPLATE_REAL_BARE:+yes}
[ -n "$bare" ] || start kube-controller-manager kube-controller-manager --kubeconfig="$KUBECONFIG" --secure-port=0 --leader-elect=false \
  --controllers=*,-node-lifecycle-controller,-node-ipam-controller,-cloud-node-lifecycle-controller \
  --service-account-private-key-file="$dir/certs/sa.key" --kube-api-qps=300 --kube-api-burst=600
[ -n "$bare" ] || start kube-scheduler kube-scheduler --kubeconfig="$KUBECONFIG" --secure-port=0 --leader-elect=false \
  --kube-api-qps=300 --kube-api-burst=600

stages=$(share kwok)
for stage in "$stages"/*.yaml; do cat "$stage"; echo ---; done >"$dir/config/kwok.yaml"
[ -n "$bare" ] || start kwok kwok --kubeconfig="$KUBECONFIG" --manage-all-nodes=true --config="$dir/config/kwok.yaml"

for node in node-0 node-1 node-2; do
  cat <<END
apiVersion: v1
kind: Node
metadata: {name: $node, labels: {kubernetes.io/hostname: $node, type: kwok}}
status:
  allocatable: {cpu: "256", memory: 1Ti, pods: "5000"}
  capacity: {cpu: "256", memory: 1Ti, pods: "5000"}
---
END
done >"$dir/config/nodes.yaml"
crds=(-f "$(share rollouts)" -f "$here/../../../assets/sample-env/crds")
[ ! -x "$(command -v flagger)" ] || crds+=(-f "$(share flagger)")
k create --validate=false -f "$dir/config/nodes.yaml" "${crds[@]}" >"$dir/logs/kubectl.log" 2>&1 \
  || { cat "$dir/logs/kubectl.log" >&2; fail "kubectl create failed"; }
# A definition without any condition yet is an error to `kubectl wait`, so it is asked again.
await "the custom resources" k wait --for=condition=Established crd --all --timeout=10s

# These two offer no way to bind their ports to loopback only.
[ -n "$bare" ] || start rollouts-controller rollouts-controller --kubeconfig="$KUBECONFIG" --leader-elect=false --loglevel=warn \
  --healthzPort=$((base + 4)) --metricsPort=$((base + 3)) --qps=300 --burst=600
if [ -z "$bare" ] && command -v flagger >/dev/null; then
  start flagger flagger -kubeconfig="$KUBECONFIG" -mesh-provider=nginx -port=$((base + 5)) -log-level=info \
    -metrics-server="http://127.0.0.1:$((base + 6))"
fi

if [ -z "$bare" ]; then
  await "the Argo Rollouts controller" answers $((base + 4))
  await "the default service account" k get serviceaccount default
  k wait --for=condition=Ready node --all --timeout=30s >>"$dir/logs/kubectl.log" 2>&1 || fail "the nodes are not ready"
fi

cat >"$dir/env" <<END
export KUBECONFIG="$dir/kubeconfig"
export PATH="$bins:\$PATH"
END
mv "$dir/config/kubeconfig" "$dir/kubeconfig"
ln -s ../kubeconfig "$dir/config/kubeconfig"
echo "$dir/kubeconfig"
