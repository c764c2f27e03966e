"""The page at /docs: the OpenAPI document as plain HTML, without a script or anything from elsewhere: it works offline."""

from __future__ import annotations

import json
from html import escape
from typing import Any

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
h2{margin:2.5rem 0 .5rem;border-bottom:1px solid #ccc}h3{margin:1.5rem 0 .2rem}code,pre{font:13px/1.45 ui-monospace,monospace}
table{border-collapse:collapse}td{border:1px solid #ddd;padding:.15rem .5rem;vertical-align:top}
.verb{display:inline-block;min-width:3.5rem;font-weight:700}"""


def page_of(document: dict[str, Any]) -> str:
    """The whole page."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>{escape(document['info']['title'])} API</title><style>{_STYLE}</style>",
        f"<h1>{escape(document['info']['title'])} API {escape(document['info']['version'])}</h1>",
        *(f"<p>{escape(text)}</p>" for text in document["info"]["description"].split("\n\n")),
        "<p>The same for machines: <a href=openapi.json>openapi.json</a></p>",
    ]
    tag = None
    for path, operations in document["paths"].items():
        for verb, operation in operations.items():
            if operation["tags"][0] != tag:
                tag = operation["tags"][0]
                parts.append(f"<h2>{escape(tag)}</h2>")
            parts += _operation(path, verb, operation)
    parts.append("<h2>schemas</h2>")
    for name, schema in document["components"]["schemas"].items():
        parts.append(f"<h3 id='{escape(name)}'>{escape(name)}</h3>{_text(schema.get('description', ''))}{_fields(schema)}")
    return "\n".join(parts)


def _operation(path: str, verb: str, operation: dict[str, Any]) -> list[str]:
    parts = [
        f"<h3><span class=verb>{escape(verb.upper())}</span> <code>{escape(path)}</code></h3>",
        _text(operation["description"]),
    ]
    for parameter in operation.get("parameters", ()):
        pattern = parameter["schema"].get("pattern", "")
        parts.append(f"<p><code>{escape(parameter['name'])}</code> in the {parameter['in']}: <code>{escape(pattern)}</code></p>")
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if body:
        parts.append(f"<p>takes {_name(body)}</p>")
    rows = []
    for status, answer in sorted(operation["responses"].items()):
        schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
        rows.append(f"<tr><td>{status}<td>{_name(schema)}<td>{escape(answer.get('description', ''))}")
    return [*parts, f"<table>{''.join(rows)}</table>"]


def _fields(schema: dict[str, Any]) -> str:
    required = schema.get("required", ())
    rows = [
        f"<tr><td><code>{escape(name)}</code>{'' if name in required else ' (optional)'}"
        f"<td>{_name(field)}<td>{escape(field.get('description', ''))}"
        for name, field in schema.get("properties", {}).items()
    ]
    return f"<table>{''.join(rows)}</table>" if rows else ""


def _name(schema: dict[str, Any]) -> str:
    """What a value is, in few words; a link where it has a name."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f"<a href='#{name}'>{name}</a>"
    if "anyOf" in schema:
        return " or ".join(_name(each) for each in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(f"<code>{escape(json.dumps(each))}</code>" for each in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_name(schema.get('items', {}))}"
    pattern = f" <code>{escape(schema['pattern'])}</code>" if "pattern" in schema else ""
    return escape(str(schema.get("type", ""))) + pattern


def _text(text: str) -> str:
    return f"<p>{escape(text)}</p>" if text else ""
