"""Hugging Face folders both ways, one file per family, and what a resumed run needs beside them."""
