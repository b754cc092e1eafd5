"""A continuum on one machine, and what is measured over it."""
