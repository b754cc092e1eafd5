import six
from six.moves.urllib.parse import urlencode


def call() -> object:
    """Use a moved module and convert text."""
    return urlencode({"a": "ü"}), six.ensure_str(b"x"), six.ensure_binary("ü").hex(), list(six.iteritems({"k": 1}))
