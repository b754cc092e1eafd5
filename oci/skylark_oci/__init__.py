"""Packaging: how components become images, and how a cluster runs them."""
