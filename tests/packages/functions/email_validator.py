from email_validator import EmailNotValidError, validate_email


def call() -> object:
    """Check the syntax of addresses."""
    found = validate_email("Jörg@BÜCHER.example.org", check_deliverability=False)
    try:
        validate_email("a..b@example.org", check_deliverability=False)
    except EmailNotValidError as error:
        refused = str(error)
    return found.normalized, found.ascii_domain, refused
