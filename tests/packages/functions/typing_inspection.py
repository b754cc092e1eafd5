from typing import Annotated, ClassVar

from typing_inspection.introspection import AnnotationSource, inspect_annotation
from typing_inspection.typing_objects import is_annotated, is_union


def call() -> object:
    """Take an annotation apart."""
    found = inspect_annotation(ClassVar[Annotated[int, "metres"]], annotation_source=AnnotationSource.CLASS)
    return found.type.__name__, sorted(found.qualifiers), found.metadata, is_annotated(Annotated), is_union(int)
