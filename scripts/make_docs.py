"""Make the reference pages from the code: docs/providers.md, cli.md, config.md and rules.md.

python scripts/make_docs.py           write them
python scripts/make_docs.py --check   write nothing; exit 1 and show the difference if one is old
"""

from __future__ import annotations

import ast
import difflib
import inspect
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import msgspec

from pointsman import config
from pointsman.cli import cli
from pointsman.providers.prices import default_models, table_date
from pointsman.providers.registry import Capabilities, Provider, all_providers
from pointsman.trust.rules.base import Rule
from pointsman.trust.rules.catalogue import MODULES

DOCS = Path(__file__).parent.parent / "docs"
MADE = "<!-- Made by scripts/make_docs.py; change the code and run it again. -->"
ABILITIES = [name for name in Capabilities.__struct_fields__ if name not in ("chat", "stream")]


def main() -> int:
    pages = {
        "providers.md": providers_page(),
        "cli.md": cli_page(),
        "config.md": config_page(),
        "rules.md": rules_page(),
    }
    old = 0
    for name, text in pages.items():
        path = DOCS / name
        current = path.read_text("utf-8") if path.exists() else ""
        if current == text:
            continue
        if "--check" in sys.argv[1:]:
            old += 1
            diff = difflib.unified_diff(
                current.splitlines(), text.splitlines(), f"docs/{name}", "as the code has it", n=0
            )
            print("\n".join(list(diff)[:40]))
        else:
            path.write_text(text, "utf-8")
            print(f"wrote docs/{name}")
    if old:
        print("docs differ from the code: run scripts/make_docs.py", file=sys.stderr)
    return 1 if old else 0


def page(*blocks: str) -> str:
    return "\n\n".join(block.strip("\n") for block in blocks if block) + "\n"


def markdown_table(headers: list[str], rows: list[list[str]]) -> str:
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines
    )


def escape(text: str) -> str:
    return text.replace("<", "\\<")


def code(text: str) -> str:
    return f"`{text}`" if text else ""


# Providers


def providers_page() -> str:
    rows = all_providers().values()
    public = [row for row in rows if not row.loopback]
    own = [row for row in rows if row.loopback]
    picked = [
        [code(row.name), ", ".join(code(model) for model in default_models(row.name))]
        for row in rows
        if default_models(row.name)
    ]
    return page(
        MADE,
        "# Providers",
        f"""
{len(rows)} providers are known by name: set the variable, and `provider:model` works. An ability
that is not known counts as absent when a route chooses; a request that names the provider itself is
passed on, and the provider says what it can't do. What the table has wrong is set right in
`[providers.NAME]` ([config.md](config.md)), and so is any further endpoint.

The rows are `src/pointsman/data/providers.json`, made by `scripts/make_providers.py` from the
providers' own references and from other projects' tables; no row has been tried with a key. Prices
and context lengths are `src/pointsman/data/models.json`, made by `scripts/make_prices.py` from
[genai-prices](https://github.com/pydantic/genai-prices) (MIT) on {table_date()};
where a price depends on the prompt's length, the base price counts.
""",
        "## By key",
        provider_table(public),
        "## On your own machine",
        "They ask for no key unless theirs is set, and are used when named, in a ref or in the file.",
        provider_table(own),
        "## What `auto` takes with nothing configured",
        "With no `[routes.auto]`, the route has the local models and these of each provider whose key "
        "is there, cheap to strong.",
        markdown_table(["provider", "models"], picked),
        "## Notes",
        "\n".join(f"- `{row.name}`: {escape(row.note)}" for row in rows if row.note),
    )


def provider_table(rows: list[Provider]) -> str:
    cells = [
        [
            code(row.name),
            row.dialect,
            " or ".join(code(name) for name in row.api_key_env),
            code(row.base_url or "") or row.needs,
            ", ".join(name for name in ABILITIES if getattr(row.capabilities, name)),
        ]
        for row in rows
    ]
    return markdown_table(["provider", "dialect", "key", "base URL", "abilities known"], cells)


# Command line


def cli_page() -> str:
    return page(
        MADE,
        "# Command line",
        """
`pointsman VERB …`, or `python -m pointsman VERB …`. Names and the fields of `--json` are a contract.

Exit codes: 0 done; 1 a finding or a failed request; 2 bad usage, or it could not be carried out.
Long work shows progress on a terminal and nothing on a pipe.
""",
        *(block for name in cli.list_commands(_context(cli, "pointsman")) for block in verb(name)),
    )


def verb(name: str) -> Iterator[str]:
    parent = _context(cli, "pointsman")
    found = cli.get_command(parent, name)
    if found is None:
        raise SystemExit(f"no command '{name}'")
    yield from command_blocks(found, f"pointsman {name}", 2)


def command_blocks(found: click.Command, path: str, level: int) -> Iterator[str]:
    context = _context(found, path)
    yield f"{'#' * level} {code(path)}"
    yield inspect.cleandoc(found.help or "")
    if isinstance(found, click.Group):
        for name in found.list_commands(context):
            inner = found.get_command(context, name)
            if inner is not None:
                yield from command_blocks(inner, f"{path} {name}", level + 1)
        return
    yield f"```\n{path} {' '.join(found.collect_usage_pieces(context))}\n```"
    # Every command has --help, and an argument without a text is in the line of usage already.
    records = [param.get_help_record(context) for param in found.params]
    rows = [[code(names), text] for names, text in filter(None, records) if text]
    yield markdown_table(["option", "does"], rows)


def _context(found: click.Command, path: str) -> click.Context:
    return click.Context(found, info_name=path)


# Rules


def rules_page() -> str:
    by_module: dict[str, list[Rule]] = {}
    for name in MODULES:
        module = import_module(f"pointsman.trust.rules.{name}")
        found = [each for each in vars(module).values() if isinstance(each, Rule)]
        by_module[name] = sorted(found, key=lambda rule: rule.id)
    return page(
        MADE,
        "# Rules",
        """
What the checks of [trust.md](trust.md) look for. A rule's name never changes its meaning. A finding is of
the severity given here unless its message says why it is graver.
""",
        *(
            block
            for name, rules in by_module.items()
            for block in (
                f"## {MODULES[name]}",
                *(text for rule in rules for text in rule_blocks(rule)),
            )
        ),
    )


def rule_blocks(rule: Rule) -> Iterator[str]:
    yield f"### {rule.id}"
    yield f"{rule.title}. Severity: {rule.severity}."
    yield f"**What it does.** {rule.what}"
    yield f"**Why is this bad.** {rule.why}"
    yield f"**What to do.** {rule.fix}"
    yield f"**Example.** {rule.example}"
    yield f"**Known false positives.** {rule.false_positives}"
    if rule.references:
        yield "**References.** " + "; ".join(rule.references)


# Configuration


def config_page() -> str:
    return page(
        MADE,
        "# Configuration",
        f"""
One file, `pointsman.toml`: the one given by `--config`, else `$POINTSMAN_CONFIG`, else the one in the
working directory, else none: the gateway then takes the providers whose keys are in the environment
and the local models that it finds. An argument goes over the environment, that over the file, that
over the default. An unknown key is an error that names the nearest one and the line. Keys of
providers never stand in the file: it names the variables that hold them.

An example with every table: [pointsman.example.toml](pointsman.example.toml).

{markdown_table(["variable", "sets"], VARIABLES)}
""",
        *(block for kind in config_structs() for block in table_blocks(kind)),
    )


VARIABLES = [
    ["`POINTSMAN_CONFIG`", "the configuration file"],
    ["`POINTSMAN_HOST`, `POINTSMAN_PORT`", "where the gateway listens; over `[server]`"],
    ["`POINTSMAN_HOME`", "the data directory; the default is the platform's place for user data"],
]


def config_structs() -> list[type[msgspec.Struct]]:
    kinds = [getattr(config, name) for name in dir(config)]
    tables = [
        kind
        for kind in kinds
        if isinstance(kind, type)
        and issubclass(kind, msgspec.Struct)
        and kind.__module__ == config.__name__
        and (kind.__doc__ or "").startswith("`[")
    ]
    roots = list(config.Config.__struct_fields__)

    def place(kind: type[msgspec.Struct]) -> tuple[int, str]:
        name = (kind.__doc__ or "").lstrip("`[").partition("]")[0]
        return roots.index(name.partition(".")[0]), name

    return sorted(tables, key=place)


def table_blocks(kind: type[msgspec.Struct]) -> Iterator[str]:
    name, _, what = inspect.cleandoc(kind.__doc__ or "").partition(": ")
    texts = field_texts(kind)
    yield f"## {name}"
    yield what[:1].upper() + what[1:]
    rows = []
    for each in msgspec.structs.fields(kind):
        default = "required" if each.required else code(shown(each))
        annotation = inspect.get_annotations(kind)[each.name]
        rows.append([code(each.name), code(toml_type(annotation)), default, texts[each.name]])
    yield markdown_table(["key", "type", "default", "what it is"], rows)


def shown(field: Any) -> str:
    value = field.default
    if field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
    if isinstance(value, msgspec.Struct) or value == {}:
        return "{}"
    return "" if value is None else msgspec.json.encode(value).decode()


TOML_TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "true or false"}


def toml_type(annotation: str) -> str:
    """Give a Python annotation in TOML's words."""
    return _toml(ast.parse(annotation, mode="eval").body)


def _toml(node: ast.expr) -> str:
    match node:
        case ast.BinOp(left=left, right=ast.Constant(value=None)):
            return _toml(left)
        case ast.BinOp(left=left, right=right):
            return f"{_toml(left)} or {_toml(right)}"
        case ast.Name(id=name):
            return TOML_TYPES.get(name, "table")
        case ast.Subscript(value=ast.Name(id="list"), slice=inner):
            return f"list of {_toml(inner)}"
        case ast.Subscript(value=ast.Name(id="dict"), slice=ast.Tuple(elts=[_, inner])):
            return "tables by name" if _toml(inner) == "table" else f"table of {_toml(inner)}"
        case ast.Subscript(value=ast.Name(id="Literal"), slice=ast.Tuple(elts=words)):
            return " or ".join(ast.unparse(word).replace("'", '"') for word in words)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=ast.Constant() as word):
            return ast.unparse(word).replace("'", '"')
        case _:
            raise SystemExit(f"make_docs knows no TOML word for {ast.unparse(node)}")


def field_texts(kind: type[msgspec.Struct]) -> dict[str, str]:
    """Give the text below each field of a class, which Python itself does not keep."""
    tree = ast.parse(inspect.getsource(kind)).body[0]
    assert isinstance(tree, ast.ClassDef)
    texts: dict[str, str] = {}
    for line, below in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
            match below:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    texts[line.target.id] = " ".join(text.split())
                case _:
                    raise SystemExit(f"{kind.__name__}.{line.target.id} has no text below it")
    return texts


if __name__ == "__main__":
    sys.exit(main())
