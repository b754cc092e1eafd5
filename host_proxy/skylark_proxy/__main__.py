"""`python -m skylark_proxy` is the command `skylark`."""

from skylark_proxy.cli.app import main

if __name__ == "__main__":
    main()
