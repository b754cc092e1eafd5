from pycparser import c_generator, c_parser


def call() -> object:
    """Parse a C function and write it again."""
    tree = c_parser.CParser().parse("int twice(int x) { return x * 2; }")
    return tree.ext[0].decl.name, c_generator.CGenerator().visit(tree)
