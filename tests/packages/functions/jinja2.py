from jinja2 import DictLoader, Environment

TEMPLATES = {
    "base": "<ul>{% block body %}{% endblock %}</ul>",
    "page": "{% extends 'base' %}{% block body %}{% for i in items %}<li>{{ loop.index }}{{ i|upper }}</li>{% endfor %}"
    "{{ '%.1f'|format(ratio) }}{% endblock %}",
}


def call() -> object:
    """Render a template that extends another one."""
    environment = Environment(loader=DictLoader(TEMPLATES), autoescape=True)
    return environment.get_template("page").render(items=["a", "<b>"], ratio=0.256)
