"""The node-info service: who the nodes are, how they are linked now, and what the operator asks for."""
