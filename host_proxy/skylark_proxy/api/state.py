"""`/state` and `/save`: the published system's interface to single states, in JSON."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from skylark_proxy import bundle_http
from skylark_proxy.api import parameters
from skylark_proxy.api.answers import json_answer
from skylark_proxy.api.json_bodies import json_body
from skylark_proxy.api.reports import placement_json
from skylark_proxy.api.routing import by_method
from skylark_proxy.bulkheads import Bulkhead
from skylark_proxy.errors import InvalidArgument
from skylark_proxy.model import StateKey, check_name
from skylark_proxy.placement import PlacedBundle, Write
from skylark_proxy.single_state import SingleStates, fields_of, value_of

_ENVELOPE_BYTES = 4096
"""What the key and the braces around a value may take beside it."""

_EXCERPT = 128


class KeyJson(msgspec.Struct, forbid_unknown_fields=True):
    """A key as the published system writes it. `fn_name`, which older versions of it have, stands for `task_id`.

    `node_id` is not looked at: the endpoint says where the state goes. So an answer of `GET /state` can be sent back.
    """

    chain_id: str
    task_id: str | msgspec.UnsetType = msgspec.UNSET
    fn_name: str | msgspec.UnsetType = msgspec.UNSET
    node_id: str | None = None

    def to_key(self) -> StateKey:
        """The key, without a node.

        Raises:
            InvalidArgument: A part is not a name, or the task is not given once.
        """
        chain_id = _name("key.chain_id", self.chain_id)
        match self.task_id, self.fn_name:
            case str(task_id), msgspec.UNSET:
                return StateKey(chain_id, _name("key.task_id", task_id))
            case msgspec.UNSET, str(fn_name):
                return StateKey(chain_id, _name("key.fn_name", fn_name))
            case msgspec.UNSET, msgspec.UNSET:
                raise InvalidArgument("key.task_id", None, "a name, here or as key.fn_name")
            case _:
                raise InvalidArgument("key.fn_name", "a name", "none where key.task_id is given")


class StateJson(msgspec.Struct, forbid_unknown_fields=True):
    """A state as it is saved."""

    key: KeyJson
    value: msgspec.Raw


@dataclass(frozen=True)
class StateApi:
    """The single states of a node, and through it those of others."""

    states: SingleStates
    max_bundle_bytes: int
    local: Bulkhead

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            by_method("/state", GET=self.get, DELETE=self.delete),
            Route("/save/sat", self.save_sat, methods=["POST"]),
            Route("/save/edge", self.save_edge, methods=["POST"]),
            Route("/save/cloud", self.save_cloud, methods=["POST"]),
        ]

    async def get(self, request: Request) -> Response:
        """A state: from here, the node that the key names, or the cloud."""
        fetched = await self.local.run(self.states.get, _key(request))
        headers = {
            "ETag": f'"{fetched.info.version}"',
            bundle_http.KEY: str(fetched.info.public_key),
            bundle_http.HOPS: str(fetched.hops),
            bundle_http.SERVED_BY: fetched.info.held_by,
            "Server-Timing": f"dr;dur={fetched.duration_ms:.3f}",
        }
        return json_answer({"key": key_json(fetched.info.public_key), "value": value_of(fetched)}, 200, headers)

    async def delete(self, request: Request) -> Response:
        """Deletes a state here, at the node that the key names, and in the cloud."""
        deleted = await self.local.run(self.states.delete, _key(request))
        return json_answer({"key": key_json(deleted.key), "nodes": list(deleted.nodes)})

    async def save_sat(self, request: Request) -> Response:
        """Stores a state where an election says, here, and in the cloud."""
        return await self._save(request, self.states.save_sat)

    async def save_edge(self, request: Request) -> Response:
        """Stores a state here and in the cloud."""
        return await self._save(request, self.states.save_edge)

    async def save_cloud(self, request: Request) -> Response:
        """Stores a state in the cloud."""
        return await self._save(request, self.states.save_cloud)

    async def _save(self, request: Request, save: Callable[[Write], PlacedBundle]) -> Response:
        destination, policy = parameters.name(request, "destination"), parameters.policy(request)
        ttl_ms, ack = parameters.ttl_ms(request), parameters.ack(request)
        state = await json_body(request, StateJson, self.max_bundle_bytes + _ENVELOPE_BYTES)
        write = Write(
            key=state.key.to_key(),
            fields=fields_of(state.value),
            destination=destination,
            destination_from="request" if destination else "default",
            policy=policy,
            ttl_ms=ttl_ms,
            ack=ack,
        )
        placed = await self.local.run(save, write)
        headers = {"ETag": f'"{placed.version}"', bundle_http.KEY: str(placed.key)}
        if "application/json" in request.headers.get("accept", ""):
            return json_answer(placement_json(placed), 200, headers)
        return PlainTextResponse(str(placed.key), 200, headers)


def key_json(key: StateKey) -> dict[str, Any]:
    """A key as the published system writes it."""
    return {"chain_id": key.chain_id, "node_id": key.node, "task_id": key.task_id}


def _key(request: Request) -> StateKey:
    text = parameters.text(request, "key")
    if text is None:
        raise InvalidArgument("key", None, "<chain_id>:<node>:<task_id> or <chain_id>:<task_id>")
    return StateKey.parse(text)


def _name(field: str, value: str) -> str:
    return check_name(field, value if len(value) <= _EXCERPT else value[: _EXCERPT + 1])
