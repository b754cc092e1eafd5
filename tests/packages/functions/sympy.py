import sympy


def call() -> object:
    """Solve an equation, integrate and simplify."""
    x = sympy.Symbol("x")
    return (
        [str(root) for root in sympy.solve(x**2 - 5 * x + 6, x)],
        str(sympy.integrate(sympy.sin(x) * x, x)),
        str(sympy.simplify(sympy.sin(x) ** 2 + sympy.cos(x) ** 2)),
        str(sympy.pi.evalf(30)),
    )
