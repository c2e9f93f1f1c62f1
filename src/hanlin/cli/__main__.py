"""`python -m hanlin.cli`."""

from hanlin.cli.main import main

main()
