import io

from openpyxl import Workbook, load_workbook
from openpyxl.styles import Font


def call() -> object:
    """Write a workbook to memory and read it."""
    book, file = Workbook(), io.BytesIO()
    sheet = book.active
    sheet.append(["name", "value"])
    sheet.append(["é", 2.5])
    sheet["B3"] = "=SUM(B2:B2)"
    sheet["A1"].font = Font(bold=True)
    book.save(file)
    read = load_workbook(io.BytesIO(file.getvalue())).active
    return [list(row) for row in read.iter_rows(values_only=True)], read["A1"].font.bold
