#!/usr/bin/env bash
# The parts of a real Kubernetes control plane, built once from the Go module proxy and cached. Builds and prints; starts nothing.
#
#   build.sh [PART…]      builds what is missing of the named parts (all of them, if none is named) and prints one bin folder a line
#   build.sh --print      prints the bin folders and builds nothing
#
# Binaries lie in CACHE/HASH/bin, where HASH is of the part's go.mod and go.sum, so a changed version is a new folder and an
# unchanged one costs nothing. CACHE is FOOTPLATE_REAL_CACHE, or target/real-cluster below the root of the repository.
# The first build takes about a quarter of an hour on two cores. Only the Go toolchain is needed.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${FOOTPLATE_REAL_CACHE:-$here/../../../target/real-cluster}

# In this order, the shortest first, so that a failure shows early.
declare -A programs=(
  [etcd]="etcd=go.etcd.io/etcd/server/v3"
  [kwok]="kwok=sigs.k8s.io/kwok/cmd/kwok"
  [flagger]="flagger=github.com/fluxcd/flagger/cmd/flagger"
  [rollouts]="rollouts-controller=github.com/argoproj/argo-rollouts/cmd/rollouts-controller
              kubectl-argo-rollouts=github.com/argoproj/argo-rollouts/cmd/kubectl-argo-rollouts"
  [kubernetes]="kube-apiserver=k8s.io/kubernetes/cmd/kube-apiserver
                kube-controller-manager=k8s.io/kubernetes/cmd/kube-controller-manager
                kube-scheduler=k8s.io/kubernetes/cmd/kube-scheduler
                kubectl=k8s.io/kubernetes/cmd/kubectl"
)
# Files of the modules that up.sh applies or reads, beside the binaries so that a cached build needs no module cache.
declare -A extras=(
  [kwok]="sigs.k8s.io/kwok kustomize/stage/node/fast/node-initialize.yaml kustomize/stage/pod/fast/pod-ready.yaml
          kustomize/stage/pod/fast/pod-complete.yaml kustomize/stage/pod/fast/pod-delete.yaml"
  [flagger]="github.com/fluxcd/flagger artifacts/flagger/crd.yaml"
  [rollouts]="github.com/argoproj/argo-rollouts manifests/crds/analysis-run-crd.yaml manifests/crds/analysis-template-crd.yaml
              manifests/crds/cluster-analysis-template-crd.yaml manifests/crds/experiment-crd.yaml manifests/crds/rollout-crd.yaml"
)
order=(etcd kwok flagger rollouts kubernetes)

print_only=
if [ "${1:-}" = --print ]; then print_only=1; shift; fi
[ $# -gt 0 ] || set -- "${order[@]}"
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)

# The caller's settings for builds of its own must not change these.
unset GOOS GOARCH GOEXPERIMENT GOWORK GO111MODULE GOBIN
export GOTOOLCHAIN=local GOFLAGS="-buildvcs=false -mod=readonly" CGO_ENABLED=0 GOWORK=off

for part in "$@"; do
  [ -n "${programs[$part]:-}" ] || { echo "build.sh: no part is called '$part'; there are: ${order[*]}" >&2; exit 2; }
  hash=$(cat "$here/$part/go.mod" "$here/$part/go.sum" | sha256sum | cut -c1-16)
  home=$cache/$part-$hash
  echo "$home/bin"
  [ -z "$print_only" ] || continue
  [ ! -e "$home/complete" ] || continue

  command -v go >/dev/null || { echo "build.sh: Go is not on PATH, and $part is not built yet" >&2; exit 1; }
  # Two test runs may want the same part at once: the second waits for the first.
  exec 8>"$cache/$part.lock"
  flock 8
  if [ ! -e "$home/complete" ]; then
    mkdir -p "$home/bin" "$home/share"
    flags=(-trimpath)
    ldflags="-s -w"
    if [ "$part" = kubernetes ]; then
      # Without a stamp the server calls itself v0.0.0-master, which clients that compare versions do not understand.
      version=$(cd "$here/$part" && go list -m -f '{{.Version}}' k8s.io/kubernetes)
      stamp=k8s.io/component-base/version
      ldflags+=" -X $stamp.gitVersion=$version -X $stamp.gitMajor=1 -X $stamp.gitMinor=$(cut -d. -f2 <<<"$version")"
    fi
    while read -r program; do
      [ -n "$program" ] || continue
      echo "build.sh: building ${program%%=*} ($part), the first time only" >&2
      (cd "$here/$part" && go build "${flags[@]}" -ldflags="$ldflags" -o "$home/bin/${program%%=*}" "${program#*=}") >&2
    done < <(tr ' ' '\n' <<<"${programs[$part]}")
    read -r -a wanted <<<"$(tr '\n' ' ' <<<"${extras[$part]:-}")"
    if [ ${#wanted[@]} -gt 0 ]; then
      module=$(cd "$here/$part" && go list -m -f '{{.Dir}}' "${wanted[0]}")
      for file in "${wanted[@]:1}"; do install -m 0644 "$module/$file" "$home/share/"; done
    fi
    touch "$home/complete"
  fi
  exec 8>&-
done
