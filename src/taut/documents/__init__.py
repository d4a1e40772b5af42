"""Reading and writing YAML and JSON as Kubernetes reads them."""
