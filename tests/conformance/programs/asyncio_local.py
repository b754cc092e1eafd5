"""asyncio with both ends in the program: 100 connections at once, timeouts, cancellation, queues and streams."""

import asyncio
import hashlib
import socket
import time

from conformance.programs.record import name_of, say

_CLIENTS = 100


def main(arguments: list[str]) -> None:
    """Needs nothing from outside."""
    asyncio.run(_everything())
    with asyncio.Runner() as runner:
        say("a second loop", runner.run(asyncio.sleep(0, "result")))


async def _everything() -> None:
    await _hundred()
    await _timeouts()
    await in_order()
    await _cancelled()
    await _refused()
    await _slow_reader()
    await _loop_calls()


async def _hundred() -> None:
    all_there = asyncio.Barrier(_CLIENTS)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await all_there.wait()
        while content := await reader.read(1000):
            writer.write(content[::-1])
            await writer.drain()
        writer.close()

    async def ask(port: int, number: int) -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        right = True
        for turn in range(5):
            question = f"{number}/{turn}".encode()
            writer.write(question)
            right = right and await reader.readexactly(len(question)) == question[::-1]
        writer.write_eof()
        right = right and await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        return right

    server = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=_CLIENTS)
    port = server.sockets[0].getsockname()[1]
    async with server:
        answers = await asyncio.wait_for(asyncio.gather(*(ask(port, number) for number in range(_CLIENTS))), 120)
    say("a hundred", [len(answers), all(answers)])


async def _timeouts() -> None:
    started = time.monotonic()
    try:
        await asyncio.wait_for(asyncio.Event().wait(), 0.1)
    except TimeoutError:
        say("wait_for", 0.095 <= time.monotonic() - started < 5)
    try:
        async with asyncio.timeout(0.05):
            await asyncio.sleep(60)
    except TimeoutError:
        say("timeout", "over")


async def in_order() -> None:
    """Six tasks wait for points in time that are 20 ms apart, and go on in the order of these.

    All points count from one start. With `asyncio.sleep` each task's would count from when the task begins, and on a
    busy machine the last one can begin 20 ms after the first.
    """
    loop = asyncio.get_running_loop()
    start_s, order = loop.time(), list[int]()

    async def later(number: int) -> None:
        reached: asyncio.Future[None] = loop.create_future()
        loop.call_at(start_s + number / 50, reached.set_result, None)
        await reached
        order.append(number)

    await asyncio.gather(*(later(number) for number in (5, 1, 3, 0, 4, 2)))
    say("in order", order)


async def _cancelled() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        waiting = asyncio.create_task(reader.read(1))
        await asyncio.sleep(0.01)
        waiting.cancel()
        say("cancelled", type((await asyncio.gather(waiting, return_exceptions=True))[0]).__name__)
        try:
            async with asyncio.timeout(0.05):
                await reader.read(1)
        except TimeoutError:
            say("read timed out", "over")
        writer.close()
        await writer.wait_closed()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(asyncio.sleep(0.01, number)) for number in range(3)]
    say("group", [task.result() for task in tasks])


async def _refused() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    reader, writer = await asyncio.open_connection(*address)
    say("closed at once", await reader.read())
    writer.close()
    server.close()
    await server.wait_closed()
    try:
        await asyncio.open_connection(*address)
    except OSError as error:
        say("refused", type(error).__name__)


async def _slow_reader() -> None:
    """4 MB to a peer that begins to read only when the writer has had to wait."""
    size, waited = 4_000_000, asyncio.Event()
    digest = hashlib.sha256()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await waited.wait()
        while content := await reader.read(65536):
            digest.update(content)
        writer.write(digest.hexdigest().encode())
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        # A system that lets the buffer grow may take 4 MB at once.
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        writer.write(bytes(size))
        say("not all sent", writer.transport.get_write_buffer_size() > 0)
        waited.set()
        await writer.drain()
        writer.write_eof()
        say("all read", (await reader.read()).decode() == hashlib.sha256(bytes(size)).hexdigest())
        writer.close()


async def _loop_calls() -> None:
    loop = asyncio.get_running_loop()
    called: asyncio.Future[str] = loop.create_future()
    loop.call_later(0.01, called.set_result, "later")
    say("call_later", await called)
    for host in ("127.0.0.1", "::1"):
        try:
            (await asyncio.start_server(lambda _, writer: writer.close(), host, 0)).close()
            say(f"listen at {host}", "done")
        except OSError as error:
            say(f"listen at {host}", name_of(error.errno))
