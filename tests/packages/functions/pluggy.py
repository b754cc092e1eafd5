import pluggy

specification, implementation = pluggy.HookspecMarker("sensors"), pluggy.HookimplMarker("sensors")


class Hooks:
    @specification
    def change(self, value):
        """Change a value."""


class Doubling:
    @implementation
    def change(self, value):
        return value * 2


class Adding:
    @implementation
    def change(self, value):
        return value + 1


def call() -> object:
    """Register a plugin and call its hook."""
    manager = pluggy.PluginManager("sensors")
    manager.add_hookspecs(Hooks)
    manager.register(Doubling())
    manager.register(Adding())
    return sorted(manager.hook.change(value=20))
