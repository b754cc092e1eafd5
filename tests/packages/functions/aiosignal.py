import asyncio

from aiosignal import Signal


async def send() -> list[str]:
    got: list[str] = []

    async def receive(text: str) -> None:
        got.append(text)

    signal = Signal(owner=None)
    signal.append(receive)
    signal.freeze()
    await signal.send("hello")
    return got


def call() -> object:
    """Send a signal to a receiver."""
    return asyncio.run(send())
