"""From a tree to manifests."""
