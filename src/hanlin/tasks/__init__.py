"""What language models are used for: each kind of task from its records to predictions and figures."""
