"""Explicit wiring of one verb each: what is read, what is made of it, where it goes."""
