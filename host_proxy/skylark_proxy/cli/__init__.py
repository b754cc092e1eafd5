"""The command `skylark`; see `app`."""
