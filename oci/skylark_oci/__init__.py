"""Packages WebAssembly components for OCI registries, and moves them there and back."""

from skylark_oci.errors import PackageError
from skylark_oci.metadata import Metadata
from skylark_oci.reference import Reference

__all__ = ["Metadata", "PackageError", "Reference"]
