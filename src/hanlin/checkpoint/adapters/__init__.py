"""Adapter folders as PEFT keeps them, both ways."""
