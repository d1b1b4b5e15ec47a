"""`python -m svcd` is `svcd`."""

from svcd.cli.main import main

main()
