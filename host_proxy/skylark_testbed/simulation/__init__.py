"""The continuum without sockets: the same decisions, carried out by a discrete-event simulation."""
