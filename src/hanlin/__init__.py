"""Hanlin: a language model of your own."""
