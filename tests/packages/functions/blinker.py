from blinker import signal


def call() -> object:
    """Send a signal to receivers."""
    got = []
    ready = signal("ready")

    @ready.connect_via("sat1")
    def receive(sender, **data):
        got.append([sender, data])

    ready.send("sat1", value=1)
    ready.send("sat2", value=2)
    return got, bool(ready.receivers)
