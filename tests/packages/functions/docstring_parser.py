from docstring_parser import parse


def call() -> object:
    """Read the parts of a docstring."""
    found = parse("Add numbers.\n\nArgs:\n    a (int): The first.\n    b: The second.\n\nReturns:\n    int: The sum.\n")
    parameters = [[one.arg_name, one.type_name, one.description] for one in found.params]
    return found.short_description, parameters, found.returns.type_name, found.style.name
