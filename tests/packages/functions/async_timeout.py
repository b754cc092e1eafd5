import asyncio

import async_timeout


async def wait() -> list[str]:
    try:
        async with async_timeout.timeout(0.01):
            await asyncio.Event().wait()
    except TimeoutError as error:
        ended = type(error).__name__
    async with async_timeout.timeout(60) as limit:
        await asyncio.sleep(0)
    return [ended, str(limit.expired)]


def call() -> object:
    """End what takes too long."""
    return asyncio.run(wait())
