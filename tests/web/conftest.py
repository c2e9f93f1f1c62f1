import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "serve"))  # the servers of `serving.py`


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "web: drives a real browser")
