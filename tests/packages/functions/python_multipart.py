import io

from python_multipart import parse_form

FORM = (
    b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
    b'--b\r\nContent-Disposition: form-data; name="f"; filename="x.txt"\r\n\r\nhello\r\n--b--\r\n'
)


def call() -> object:
    """Read a form with a field and a file."""
    fields, files = {}, {}
    parse_form(
        {"Content-Type": b"multipart/form-data; boundary=b", "Content-Length": str(len(FORM)).encode()},
        io.BytesIO(FORM),
        lambda field: fields.update({field.field_name.decode(): field.value.decode()}),
        lambda file: files.update({file.file_name.decode(): file.size}),
    )
    return fields, files
