"""The page `/docs`: the description of the API as HTML, made from `/openapi.json` alone.

Without scripts it has every operation. A script adds a search, copy buttons, and forms that send a request.

No ready-made page fits. RapiDoc, Scalar, Redoc and Stoplight Elements write styles into the page, which the service's
Content-Security-Policy forbids. Swagger UI 5.35 works under it, but takes 485 KB compressed, searches in tags alone, and fails
the rules of accessibility.
"""

import json
import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import Response

from gateway.api.openapi import DescriptionRoutes
from gateway.api.operation import Operation

HTML = "text/html; charset=utf-8"
_BASE = "{{base}}"
_MOST_WORDS = 40
_CODE = re.compile(r"`([^`]+)`")
_SHOWN = "curl -H 'Authorization: Bearer TOKEN' …"

Described = Mapping[str, Any]


class DocsRoutes:
    """The endpoint of the page of `description`.

    The page is made once for each description; the service's address in it is filled in at each request.
    """

    def __init__(self, description: DescriptionRoutes) -> None:
        self._description = description
        self._page = ""
        self._made_of: Described = {}

    def operations(self) -> list[Operation]:
        """Return the table of operations."""
        text = {"text/html": "A page. Without scripts it has all text; a script adds a search, copy buttons and forms."}
        made = Operation(method="GET", path="/docs", endpoint=self.docs, tag="service", forms=text, scope="open", lenient=True)
        return [made]

    async def docs(self, request: Request) -> Response:
        """Show all requests that the service answers, each with an example as a curl."""
        described = self._description.described
        if described is not self._made_of:
            self._made_of, self._page = described, page(described)
        return Response(self._page.replace(_BASE, escape(str(request.base_url).rstrip("/"))), media_type=HTML)


def page(described: Described) -> str:
    """Return the page of a description, with `{{base}}` in place of the service's address. Cost: some ms."""
    return "".join(_page(described))


def _page(described: Described) -> Iterator[str]:
    info, by_tag = described["info"], _by_tag(described)
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1"><title>Firnline: what can be asked</title>'
    yield '<link rel="icon" href="/static/mark.svg"><link rel="stylesheet" href="/static/docs.css">'
    yield '<script type="module" src="/static/docs/docs.js"></script></head><body>'
    yield '<a class="skip" href="#operations">Skip to the operations</a>'
    yield '<header><p class="home"><a href="/">Firnline</a></p><h1>What can be asked</h1>'
    yield f'<p class="quiet">Version {escape(info["version"])}. For programs: <a href="/openapi.json">/openapi.json</a>, '
    yield f"OpenAPI {escape(described['openapi'])}.</p></header>"
    yield '<nav aria-label="Operations"><ul>'
    for tag, operations in by_tag.items():
        yield f'<li><a href="#tag-{escape(tag)}">{escape(tag)}</a><ul>'
        for path, method, operation in operations:
            yield f'<li><a href="#{escape(operation["operationId"])}">{method} {_breaking(path)}</a></li>'
        yield "</ul></li>"
    yield '<li><a href="#schemas">Schemas</a></li></ul></nav><main id="operations">'
    yield _text(info["description"])
    yield "<p>Where tokens are configured, show one with each request that needs it:</p>"
    yield _code(_SHOWN, "A request with a token")
    abouts = {tag["name"]: tag["description"] for tag in described["tags"]}
    for tag, operations in by_tag.items():
        yield f'<section aria-labelledby="tag-{escape(tag)}"><h2 id="tag-{escape(tag)}">{escape(tag)}</h2>'
        yield _text(abouts.get(tag, ""))
        for path, method, operation in operations:
            yield from _operation(described, path, method, operation)
        yield "</section>"
    yield '<section aria-labelledby="schemas"><h2 id="schemas">Schemas</h2>'
    for name, schema in described["components"]["schemas"].items():
        yield f'<article aria-labelledby="schema-{escape(name)}"><h3 id="schema-{escape(name)}">{escape(name)}</h3>'
        yield _text(schema.get("description", "")) + "".join(_properties(schema)) + "</article>"
    yield "</section></main></body></html>\n"


def _by_tag(described: Described) -> dict[str, list[tuple[str, str, Described]]]:
    found: dict[str, list[tuple[str, str, Described]]] = {tag["name"]: [] for tag in described["tags"]}
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            found.setdefault(operation["tags"][0], []).append((path, method.upper(), operation))
    return {tag: operations for tag, operations in found.items() if operations}


def _operation(described: Described, path: str, method: str, operation: Described) -> Iterator[str]:
    own = escape(operation["operationId"])
    scope = {"open": "needs no token", "read": "needs a token that may read", "write": "needs a token that may write"}
    yield f'<article aria-labelledby="{own}" {_attributes(_facts(path, method, operation))}>'
    yield f'<h3 id="{own}"><span class="method {method.lower()}">{method}</span> '
    yield f"<code>{_breaking(path)}</code></h3>{_text(operation['description'])}"
    yield f'<p class="quiet">Where tokens are configured, it {scope[operation["x-scope"]]}.</p>'
    yield _code(example(path, method, operation), f"An example of {method} {path}")
    if parameters := operation.get("parameters"):
        yield "<h4>Parameters</h4><dl>"
        for each in parameters:
            needed = ", required" if each.get("required") else ""
            about = _attributes(_parameter(each))
            yield f"<dt {about}><code>{escape(each['name'])}</code> <span>{_type(each['schema'])}{needed}</span></dt>"
            yield f"<dd>{_inline(each['description'])}</dd>"
        yield "</dl>"
    if body := operation.get("requestBody"):
        yield "<h4>Body</h4><dl>" + "".join(_content(described, body["content"])) + "</dl>"
    responses = dict(operation["responses"])
    yield f"<h4>Answer</h4><dl>{''.join(_content(described, responses['200']['content']))}</dl>"
    if headers := {name: each for name, each in responses.pop("200")["headers"].items() if "description" in each}:
        yield "<h4>Headers of the answer</h4><dl>"
        for name, each in headers.items():
            yield f"<dt><code>{escape(name)}</code></dt><dd>{_inline(each['description'])}</dd>"
        yield "</dl>"
    yield "<details><summary>Other statuses</summary><dl>"
    for status, each in responses.items():
        found = described["components"]["responses"][status] if "$ref" in each else each
        yield f"<dt><code>{status}</code></dt><dd>{_inline(found['description'])}</dd>"
    yield "</dl></details></article>"


def _facts(path: str, method: str, operation: Described) -> dict[str, str]:
    """Return what the script of the page needs to send a request."""
    facts = {"path": path, "method": method}
    if operation["tags"][0] != "service":
        facts["stream"] = operation["tags"][0]
    for each in operation.get("requestBody", {}).get("content", {}).values():
        facts["body"] = json.dumps(each.get("example", {}))
    return facts


def _parameter(described: Described) -> dict[str, str]:
    """Return what the script needs of a parameter. Words that are too many for a list to choose from are typed."""
    facts = {"name": described["name"], "in": described["in"]}
    words = [str(word) for word in described["schema"].get("enum", ())]
    if 0 < len(words) <= _MOST_WORDS and not any(" " in word for word in words):
        facts["choices"] = " ".join(words)
    if "example" in described:
        facts["example"] = str(described["example"])
    if described.get("required"):
        facts["required"] = "1"
    return facts


def _attributes(facts: Mapping[str, str]) -> str:
    return " ".join(f'data-{name}="{escape(value)}"' for name, value in facts.items())


def _content(described: Described, content: Described) -> Iterator[str]:
    for media_type, each in content.items():
        schema = each.get("schema", {})
        named = described["components"]["schemas"].get(schema.get("$ref", "").rpartition("/")[2], schema)
        about = named.get("description", "")
        line = f" A line: {_type(schema['x-line'])}." if "x-line" in schema else ""
        members = "".join(_properties(schema)) if "properties" in schema else ""
        yield f"<dt><code>{escape(media_type)}</code> <span>{_type(schema)}</span></dt><dd>{_inline(about)}{line}{members}</dd>"


def _properties(schema: Described) -> Iterator[str]:
    yield "<dl>"
    for name, each in schema.get("properties", {}).items():
        absent = "" if name in schema.get("required", ()) else ", may be absent"
        yield f"<dt><code>{escape(name)}</code> <span>{_type(each)}{absent}</span></dt>"
        yield f"<dd>{_inline(each.get('description', ''))}</dd>"
    yield "</dl>"


def _type(schema: Described) -> str:
    """Return a value's type in a few words, with a link if it has a schema of its own."""
    match schema:
        case {"$ref": str(ref)}:
            name = escape(ref.rpartition("/")[2])
            return f'<a href="#schema-{name}">{name}</a>'
        case {"anyOf": list(some)}:
            return " or ".join(dict.fromkeys(_type(each) for each in some))
        case {"const": value}:
            return f"<code>{escape(json.dumps(value))}</code>"
        case {"enum": list(values)}:
            return "one of " + ", ".join(f"<code>{escape(str(value))}</code>" for value in values)
        case {"type": "array", **rest}:
            return f"list of {_type(rest['items'])}" if isinstance(rest.get("items"), Mapping) else "list"
        case {"type": "object", "additionalProperties": Mapping() as values}:
            return f"object of {_type(values)}"
        case {"type": "object", "properties": Mapping() as members}:
            return "object with " + ", ".join(f"<code>{escape(name)}</code>" for name in members)
        case {"type": str(kind), "format": str(form)}:
            return escape(f"{kind} ({form})")
        case {"type": str(kind), "minimum": int(low), "maximum": int(high)} if high - low < 1 << 63:
            return escape(f"{kind} from {low:,} to {high:,}")
        case {"type": str(kind)}:
            return escape(kind)
    return "anything"


def example(path: str, method: str, operation: Described) -> str:
    """Return a curl of the operation, with its required parameters and those that have an example."""
    query = {}
    for each in operation.get("parameters", ()):
        if each["in"] == "path":
            path = path.replace(f"{{{each['name']}}}", quote(str(each.get("example", each["name"]))))
        elif "example" in each:
            query[each["name"]] = each["example"]
    words = ["curl"] if method == "GET" else ["curl -X", method]
    words.append(f"'{_BASE}{path}{'?' + urlencode(query, safe=':') if query else ''}'")
    bodies = operation.get("requestBody", {}).get("content", {}).values()
    words += [f"-d '{json.dumps(each.get('example', {}))}'" for each in bodies]
    return " ".join(words)


def _text(text: str) -> str:
    """Yield the paragraphs of a text."""
    return "".join(f"<p>{_inline(part)}</p>" for part in text.split("\n\n") if part)


def _inline(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", escape(text, quote=False))


def _breaking(path: str) -> str:
    """Return a path that a narrow screen may break before each slash."""
    return escape(path).replace("/", "<wbr>/")


def _code(text: str, label: str) -> str:
    # The box scrolls sideways, so the keyboard must reach it.
    return f'<pre tabindex="0" role="region" aria-label="{escape(label)}"><code>{escape(text)}</code></pre>'
