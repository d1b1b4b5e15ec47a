"""Entry of the packed program."""

from svcd.cli.main import main

main()
