import pyparsing as pp


def call() -> object:
    """Parse sums with precedence, and tell where a wrong one ends."""
    number = pp.common.integer
    expression = pp.infix_notation(
        number, [(pp.one_of("* /"), 2, pp.OpAssoc.LEFT), (pp.one_of("+ -"), 2, pp.OpAssoc.LEFT)]
    )
    try:
        expression.parse_string("1 + *", parse_all=True)
    except pp.ParseException as error:
        column = error.column
    return expression.parse_string("1 + 2 * (3 - 4)").as_list(), column
