"""Makes a WebAssembly component of Python one core module, for runtimes that load no components, and for the proxy.

See `flatten`. Nothing is imported here: those who only read the binary format need not wait for the rest.
"""
