"""From token ids on disk to batches: a memory-mapped store, packing, a resumable loader."""
