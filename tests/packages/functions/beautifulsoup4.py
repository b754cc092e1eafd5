from bs4 import BeautifulSoup


def call() -> object:
    """Read broken HTML, and select by CSS."""
    soup = BeautifulSoup("<div class=a><p>one<p>t&auml;o <a href='/x'>link</a></div>", "html.parser")
    return soup.select_one("div.a a[href]")["href"], [one.get_text() for one in soup.find_all("p")], soup.prettify()
