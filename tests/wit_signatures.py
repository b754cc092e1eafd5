"""The functions of WIT interfaces as core modules import them: names and core types.

As much of WIT as `wit/deps` uses (component-model, design/mvp/WIT.md), lowered by the canonical ABI (CanonicalABI.md,
"Flattening").
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

_TOKEN = re.compile(r"//[^\n]*|->|%?[\w-]+|@[\d.]+|[^\s]")
_PRIMITIVES = {"u64": "i64", "s64": "i64", "f64": "f64", "f32": "f32"} | dict.fromkeys(
    ("bool", "u8", "u16", "u32", "s8", "s16", "s32", "char"), "i32"
)
_MAX_FLAT_PARAMS, _MAX_FLAT_RESULTS = 16, 1
Core = tuple[tuple[str, ...], tuple[str, ...]]


@dataclass
class Wit:
    """All functions of the interfaces read so far, and the flat types of what they name."""

    functions: dict[str, Core] = field(default_factory=dict)
    types: dict[tuple[str, str], list[str]] = field(default_factory=dict)


def core_functions(folders: list[Path], without: set[str]) -> dict[str, Core]:
    """The lowered functions of all interfaces of some packages, `interface#function` without a version.

    Interfaces use each other's types in any order: they are read until nothing new is learned.
    """
    wit, known = Wit(), -1
    sources = [source for folder in folders for source in sorted(folder.glob("*.wit"))]
    while len(wit.types) != known:
        known = len(wit.types)
        for source in sources:
            _File(source.read_text(), source.parent.name, wit).read()
    return {name: core for name, core in wit.functions.items() if name.partition("#")[0] not in without}


class _File:
    def __init__(self, text: str, package: str, wit: Wit) -> None:
        self.tokens: list[str] = [one for one in _TOKEN.findall(text) if not one.startswith("//")]
        self.place, self.package, self.wit, self.interface = 0, package, wit, ""

    def next(self) -> str:
        self.place += 1
        return self.tokens[self.place - 1].removeprefix("%")

    def peek(self) -> str:
        return self.tokens[self.place].removeprefix("%")

    def skip_past(self, end: str) -> None:
        while self.next() != end:
            pass

    def read(self) -> None:
        while self.place < len(self.tokens):
            match self.next():
                case "interface":
                    self.interface = f"wasi:{self.package}/{self.next()}"
                    self.next()
                    self.items(resource="")
                case "world":
                    self.skip_past("}")

    def items(self, resource: str) -> None:
        while (item := self.next()) != "}":
            match item:
                case "use":
                    self.use()
                case "type":
                    name = self.next()
                    self.next()
                    self.define(name, self.type())
                    self.next()
                case "record" | "variant" | "enum" | "flags":
                    self.define(self.next(), self.body(item))
                case "resource":
                    self.resource(self.next())
                case name:
                    self.function(name, resource)

    def use(self) -> None:
        path = self.next()
        while (token := self.next()) != "{":
            path += token if not token.startswith("@") else ""
        interface = path.rstrip(".")
        interface = interface if ":" in interface else f"wasi:{self.package}/{interface}"
        while (name := self.next()) != "}":
            if (interface, name) in self.wit.types:
                self.define(name, self.wit.types[interface, name])
            if self.peek() == ",":
                self.next()
        self.next()

    def define(self, name: str, flat: list[str]) -> None:
        self.wit.types[self.interface, name] = flat

    def resource(self, name: str) -> None:
        self.define(name, ["i32"])
        self.wit.functions[f"{self.interface}#[resource-drop]{name}"] = (("i32",), ())
        if self.next() == "{":
            self.items(resource=name)

    def function(self, name: str, resource: str) -> None:
        assert [self.next(), self.next()] == [":", "func"], (self.interface, name)
        params = ["i32"] if resource else []
        self.next()
        while self.peek() != ")":
            self.skip_past(":")
            params += self.type()
            if self.peek() == ",":
                self.next()
        self.next()
        results: list[str] = []
        if self.next() == "->":
            results = self.type()
            self.next()
        if len(params) > _MAX_FLAT_PARAMS:
            params = ["i32"]
        if len(results) > _MAX_FLAT_RESULTS:
            params, results = [*params, "i32"], []
        full = f"[method]{resource}.{name}" if resource else name
        self.wit.functions[f"{self.interface}#{full}"] = (tuple(params), tuple(results))

    def type(self) -> list[str]:
        match self.next():
            case "string":
                return ["i32", "i32"]
            case "list":
                list(self.arguments())
                return ["i32", "i32"]
            case "own" | "borrow":
                list(self.arguments())
                return ["i32"]
            case "tuple":
                return list(chain.from_iterable(self.arguments()))
            case "option" | "result":
                return ["i32", *_joined(list(self.arguments()) if self.peek() == "<" else [])]
            case name if name in _PRIMITIVES:
                return [_PRIMITIVES[name]]
            case name:
                return self.wit.types.get((self.interface, name), [])

    def arguments(self) -> Iterator[list[str]]:
        assert self.next() == "<"
        while self.peek() != ">":
            if self.peek() == "_":
                self.next()
                yield []
            else:
                yield self.type()
            if self.peek() == ",":
                self.next()
        self.next()

    def body(self, kind: str) -> list[str]:
        cases: list[list[str]] = []
        self.next()
        while self.peek() != "}":
            self.next()
            cases.append([])
            if self.peek() in (":", "("):
                opened = self.next()
                cases[-1] = self.type()
                if opened == "(":
                    self.next()
            if self.peek() == ",":
                self.next()
        self.next()
        return list(chain.from_iterable(cases)) if kind == "record" else ["i32", *_joined(cases)]


def _joined(cases: list[list[str]]) -> list[str]:
    """The flat types of a variant's payload: each place is wide enough for every case that has it."""
    places = [{case[place] for case in cases if place < len(case)} for place in range(max(map(len, cases), default=0))]
    return [next(iter(kinds)) if len(kinds) == 1 else "i32" if kinds == {"i32", "f32"} else "i64" for kinds in places]
