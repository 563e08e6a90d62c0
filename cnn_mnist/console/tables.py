"""Tables of strings, for the terminal and for Markdown."""

from collections.abc import Sequence

Rows = Sequence[Sequence[str]]


def markdown_table(rows: Rows) -> str:
    """A table in Markdown; the first row is its header. Asterisks stay asterisks."""
    header, *body = [[cell.replace("*", r"\*") for cell in cells] for cells in rows]
    lines = [header, ["---"] * len(header), *body]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def print_table(rows: Rows, title: str | None = None, numbers_from: int = 1) -> None:
    """Prints a table with rich.

    Args:
        rows: The header, then the body.
        title: A line above it.
        numbers_from: First column that is aligned to the right.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold")
    header, *body = rows
    for place, name in enumerate(header):
        table.add_column(name, justify="right" if place >= numbers_from else "left", overflow="fold")
    for cells in body:
        table.add_row(*cells)
    Console(markup=False, emoji=False).print(table)  # a file may be called [1].png
