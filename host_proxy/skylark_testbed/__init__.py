"""A continuum in a box: nodes on this machine, with links between them that are as slow as they are said to be."""
