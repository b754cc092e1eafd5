"""Packaging: how components become images and move to registries and back, and how a cluster runs them."""

from skylark_oci.errors import PackageError
from skylark_oci.metadata import Metadata
from skylark_oci.reference import Reference

__all__ = ["Metadata", "PackageError", "Reference"]
