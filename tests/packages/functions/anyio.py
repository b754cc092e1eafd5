import anyio


async def talk() -> list[int]:
    sender, receiver = anyio.create_memory_object_stream[int](2)

    async def send() -> None:
        async with sender:
            for number in range(3):
                await sender.send(number)

    async with anyio.create_task_group() as group:
        group.start_soon(send)
        async with receiver:
            return [number async for number in receiver]


def call() -> object:
    """Run two tasks in a group that talk by a stream."""
    return anyio.run(talk)
