"""Reconciler: a git repository as the control plane of a federated research cloud."""

__version__ = "0.1.0"
