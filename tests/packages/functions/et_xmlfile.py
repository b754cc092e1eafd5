import io
from xml.etree.ElementTree import Element

from et_xmlfile import xmlfile


def call() -> object:
    """Write XML as a stream."""
    file = io.BytesIO()
    with xmlfile(file) as xml, xml.element("root", {"a": "1"}):
        for number in range(2):
            element = Element("item")
            element.text = f"<{number}>"
            xml.write(element)
    return file.getvalue().decode()
