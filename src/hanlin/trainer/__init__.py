"""The only training loop, its optimizers and schedules."""
