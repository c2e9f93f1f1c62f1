"""`python -m hanlin`, and so `torchrun -m hanlin`."""

from hanlin.cli.main import main

main()
