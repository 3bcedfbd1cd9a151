//! footplate: a terminal cockpit for release trains on Kubernetes.
