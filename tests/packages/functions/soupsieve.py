import soupsieve
from bs4 import BeautifulSoup


def call() -> object:
    """Select elements by CSS, and escape a name."""
    soup = BeautifulSoup("<ul><li id=a>1</li><li>2</li><li class=x>3</li></ul>", "html.parser")
    selector = soupsieve.compile("li:not(.x):nth-child(even), li#a")
    return [one.text for one in selector.select(soup)], soupsieve.escape("1 a")
