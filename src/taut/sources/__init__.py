"""Where desired state comes from: Git, Helm repositories, OCI registries."""
