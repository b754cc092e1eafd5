import asyncio

import sniffio


async def library() -> str:
    return sniffio.current_async_library()


def call() -> object:
    """Tell the asynchronous library that runs."""
    return asyncio.run(library())
