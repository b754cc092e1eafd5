"""An asyncio server for 100 clients at once, which the test opens all before it speaks to any."""

import asyncio

from conformance.programs.record import say, tell


def main(arguments: list[str]) -> None:
    """The arguments are the address to listen at and the number of clients."""
    asyncio.run(_serve(arguments[0], int(arguments[1])))


async def _serve(host: str, clients: int) -> None:
    ended: asyncio.Queue[int] = asyncio.Queue()
    open_now: set[asyncio.StreamWriter] = set()
    most = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal most
        open_now.add(writer)
        most = max(most, len(open_now))
        lines = 0
        while line := await reader.readline():
            writer.write(b"%d " % lines + line)
            await writer.drain()
            lines += 1
        writer.close()
        await writer.wait_closed()
        open_now.remove(writer)
        await ended.put(lines)

    server = await asyncio.start_server(handle, host, 0, backlog=clients)
    tell("port", server.sockets[0].getsockname()[1])
    counts = [await asyncio.wait_for(ended.get(), 60) for _ in range(clients)]
    server.close()
    await server.wait_closed()
    say("lines", [sum(counts), min(counts), max(counts)])
    say("at once", most)
    say("left", len(open_now))
