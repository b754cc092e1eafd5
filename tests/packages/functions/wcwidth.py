import wcwidth


def call() -> object:
    """Measure characters and texts in columns."""
    return (
        [wcwidth.wcwidth(one) for one in "aコ\u0301\n"],
        wcwidth.wcswidth("コンニチハ, セカイ!"),
        wcwidth.wcswidth("👩\u200d🚀"),
    )
