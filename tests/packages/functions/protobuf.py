from google.protobuf import json_format, struct_pb2, timestamp_pb2
from google.protobuf.internal import api_implementation


def call() -> object:
    """Serialise a message, parse it, and convert it to JSON."""
    message = struct_pb2.Struct()
    message.update({"name": "sat1", "values": [1, 2.5, None]})
    again = struct_pb2.Struct.FromString(message.SerializeToString(deterministic=True))
    moment = timestamp_pb2.Timestamp(seconds=1_700_000_000)
    return json_format.MessageToDict(again), moment.ToJsonString(), bool(api_implementation.Type())
