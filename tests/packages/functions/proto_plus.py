import proto

__protobuf__ = proto.module(package="skylark.test")


class Node(proto.Message):
    name = proto.Field(proto.STRING, number=1)
    readings = proto.RepeatedField(proto.DOUBLE, number=2)


def call() -> object:
    """Define a message, serialise it and read it as JSON."""
    node = Node(name="sat1", readings=[1.5, 2.5])
    again = Node.deserialize(Node.serialize(node))
    return again.name, list(again.readings), Node.to_dict(again), again == node
