"""The store while a server runs: opened, looked after, closed."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from sqlalchemy.exc import DBAPIError

from hanlin.base.errors import HanlinError
from hanlin.feedback.store import Store
from hanlin.serve.config import ServeConfig

log = logging.getLogger("hanlin.serve")

OFTEN = 15.0
"""Seconds between two looks at a database: what waits on the disk is added then."""
SELDOM = 3600.0
"""Seconds between two deletions of what is too old."""


def open_store(config: ServeConfig) -> Store | None:
    """The store of the settings, if they name one; a database that is away may come later.

    Raises `ConfigError` for a wrong address, `NewerFormatError` or `CheckpointError` for one that cannot be used.
    """
    if config.store is None:
        return None
    store = Store.at(config.store, config.mask)
    if not store.ready():
        log.warning("the store does not answer; feedback waits on the disk until it does")
    return store


@asynccontextmanager
async def looked_after(store: Store | None, config: ServeConfig) -> AsyncIterator[None]:
    """Look after the store as long as the application runs."""
    if store is None:
        yield
        return
    task = asyncio.create_task(_look_after(store, config.keep_days))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        store.close()


async def _look_after(store: Store, keep_days: float | None) -> None:
    passed = SELDOM
    while True:
        try:
            there = await asyncio.to_thread(store.ready)
            if there and keep_days is not None and passed >= SELDOM:
                passed = 0.0
                gone = await asyncio.to_thread(store.expire, keep_days)
                log.info("older than %g days and deleted: %s", keep_days, gone)
        except (DBAPIError, HanlinError) as error:
            log.warning("the store: %s", error)
        await asyncio.sleep(OFTEN)
        passed += OFTEN
