import yaml


def call() -> object:
    """Load a document with an anchor and a date, dump it again, and refuse a wrong one."""
    document = yaml.safe_load("base: &b {a: 1}\nover: {<<: *b, day: 2024-03-01}\ntext: |\n  two\n  lines\n")
    try:
        yaml.safe_load("a: [1, 2")
    except yaml.YAMLError as error:
        refused = type(error).__name__
    return yaml.safe_dump(document), refused
