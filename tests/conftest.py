"""What every test shares: one thread a process, so that figures do not depend on the machine's load."""

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
