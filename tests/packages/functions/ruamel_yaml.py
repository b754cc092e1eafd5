import io

from ruamel.yaml import YAML


def call() -> object:
    """Change a document and keep its comments."""
    yaml, file = YAML(), io.StringIO()
    document = yaml.load("# top\na: 1 # one\nb: [x, 'y']\n")
    document["a"] = 2
    yaml.dump(document, file)
    return file.getvalue()
