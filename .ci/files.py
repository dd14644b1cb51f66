"""The table of files of docs/design.md, from the first lines of the modules: `make files`."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "edgesplit"
PAGE = ROOT / "docs/design.md"
BEGIN, END = "<!-- files: made by `make files` -->\n", "<!-- end of files -->\n"


def first_line(path: Path) -> str:
    """Of a module's docstring."""
    return (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]


def table() -> str:
    """A table per folder, outermost first; a folder's own line is that of its __init__.py."""
    folders = sorted({path.parent for path in PACKAGE.rglob("*.py")})
    return "\n".join(map(_of_folder, folders))


def _of_folder(folder: Path) -> str:
    name = folder.relative_to(ROOT).as_posix()
    rows = [
        f"| `{path.name}` | {first_line(path).replace('|', '/')} |"
        for path in sorted(folder.glob("*.py"))
        if path.name != "__init__.py"
    ]
    head = f"**`{name}/`** {first_line(folder / '__init__.py')}\n"
    return head + ("\n| file | what is in it |\n|---|---|\n" + "\n".join(rows) + "\n") * bool(rows)


def with_table(page: str) -> str:
    """The page with its table made anew."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}{table()}{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
