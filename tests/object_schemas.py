"""What the API accepts: schemas of Kubernetes' own objects, of Knative Serving's CRD, and of Knative Eventing's.

Those of Eventing and of the operator are written by hand from their CRDs (github.com/knative/eventing,
config/core/resources/trigger.yaml, broker.yaml and pingsource.yaml; github.com/knative/operator, KnativeServing),
strict: no field but those that are named.
"""

from functools import cache
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import kubernetes_validate  # type: ignore[import-untyped]
import yaml

Json = dict[str, Any]

KNATIVE_CRD = Path(__file__).parents[2] / "shared" / "schemas" / "knative-serving-service-crd.yaml"
"""The CRD of Knative Serving's Service, beside the checkout; it is not part of it."""

LATEST = "1.37"


def check_object(document: Json, version: str = LATEST) -> None:
    """Validates an object strictly.

    Raises:
        jsonschema.ValidationError: It is not valid.
    """
    group = document["apiVersion"].partition("/")[0]
    if not group.endswith("knative.dev"):
        kubernetes_validate.validate(document, version, strict=True)
        return
    schema = _knative_service() if document["kind"] == "Service" else _BY_HAND[document["kind"]]
    if schema is not None:
        jsonschema.Draft202012Validator(schema).validate(document)


def _object(required: tuple[str, ...] = (), **properties: Json) -> Json:
    made: Json = {"type": "object", "properties": properties, "additionalProperties": False}
    return made | ({"required": list(required)} if required else {})


def _top(api: str, kind: str, spec: Json) -> Json:
    anything: Json = {"type": "object"}
    return _object(
        ("apiVersion", "kind", "metadata", "spec"),
        apiVersion={"const": api},
        kind={"const": kind},
        metadata=anything,
        spec=spec,
        status=anything,
    )


_TEXT: Json = {"type": "string", "minLength": 1}
_REF = _object(("apiVersion", "kind", "name"), apiVersion=_TEXT, kind=_TEXT, name=_TEXT, namespace=_TEXT)
_DESTINATION: Json = _object(ref=_REF, uri=_TEXT) | {"minProperties": 1}
_DELIVERY = _object(
    retry={"type": "integer", "minimum": 0},
    backoffPolicy={"enum": ["linear", "exponential"]},
    backoffDelay={"type": "string", "pattern": r"^PT[0-9.]+S$"},
    timeout=_TEXT,
    deadLetterSink=_DESTINATION,
)
_ATTRIBUTES: Json = {"type": "object", "additionalProperties": {"type": "string"}}

_BY_HAND: dict[str, Json] = {
    "KnativeServing": _top(
        "operator.knative.dev/v1beta1",
        "KnativeServing",
        _object(config={"type": "object", "additionalProperties": _ATTRIBUTES}),
    ),
    "Broker": _top("eventing.knative.dev/v1", "Broker", _object(config=_REF, delivery=_DELIVERY)),
    "Trigger": _top(
        "eventing.knative.dev/v1",
        "Trigger",
        _object(
            ("subscriber",),
            broker=_TEXT,
            filter=_object(attributes=_ATTRIBUTES),
            subscriber=_DESTINATION,
            delivery=_DELIVERY,
        ),
    ),
    "PingSource": _top(
        "sources.knative.dev/v1",
        "PingSource",
        _object(
            ("sink",),
            schedule=_TEXT,
            timezone=_TEXT,
            contentType=_TEXT,
            data=_TEXT,
            dataBase64=_TEXT,
            ceOverrides=_object(extensions=_ATTRIBUTES),
            sink=_DESTINATION,
        ),
    ),
}


@cache
def _knative_service() -> Json | None:
    """The CRD's schema for v1, made strict; None where the file is not there."""
    if not KNATIVE_CRD.exists():
        return None
    crd = yaml.safe_load(KNATIVE_CRD.read_text())
    version = next(one for one in crd["spec"]["versions"] if one["name"] == "v1")
    schema: Json = _strict(version["schema"]["openAPIV3Schema"])
    return schema


def _strict(schema: Any) -> Any:
    """The same schema without room for fields that it does not name, as the API server prunes or refuses them."""
    if not isinstance(schema, dict):
        return schema
    made = {name: _strict(value) if name != "properties" else value for name, value in schema.items()}
    if "properties" in schema:
        made["properties"] = {name: _strict(value) for name, value in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            made["additionalProperties"] = False
    return made
