"""Verbs on the command line; each imports its stage only when called."""
