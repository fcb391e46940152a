"""Federated neural architecture search: on a laptop or in Kubernetes, to the same bits."""
