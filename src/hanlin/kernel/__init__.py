"""The native kernel: one C call for each step of a Llama-like decoder on a CPU. Optional: PyTorch gives the same text."""
