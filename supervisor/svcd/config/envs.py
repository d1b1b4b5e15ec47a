"""Environment variables of services: the forms in which they are written.

Errors never repeat what was found: it may be a secret.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

from svcd.config.kinds import Kind, Wrong, toml_text
from svcd.config.problems import nearest
from svcd.values.secrets import NOT_SHOWN, looks_secret


@dataclass(frozen=True, slots=True)
class Literal:
    """`"text"` or `{ value = "text" }`: the text, in which `${NAME}` stands for another variable of the service."""

    text: str
    secret: bool | None = None
    """Whether its value is never to be shown; None leaves it to the name and the look of the value."""


@dataclass(frozen=True, slots=True)
class Dotenv:
    """A variable of an `env_file`."""

    text: str
    is_raw: bool
    """It stood in single quotes: `${NAME}` is nothing but text."""
    secret: bool | None = None


@dataclass(frozen=True, slots=True)
class FromHost:
    """`{ from_host = true }`: the variable of the same name in svcd's own environment."""

    secret: bool | None = None


@dataclass(frozen=True, slots=True)
class FromFile:
    """`{ file = "secrets/key" }`: what the file holds, less one newline at its end."""

    path: str
    secret: bool | None = None


@dataclass(frozen=True, slots=True)
class Credential:
    """`{ credential = "key" }`: what systemd passed to svcd under that name, less one newline at its end."""

    name: str
    secret: bool | None = None


@dataclass(frozen=True, slots=True)
class Unset:
    """`{ unset = true }`: take the variable away, whoever below set it."""

    secret: bool | None = None


EnvSource = Literal | Dotenv | FromHost | FromFile | Credential | Unset


class Env(Kind):
    """The value of an environment variable, or where it comes from."""

    textual = True

    forms: ClassVar[tuple[str, ...]] = ("value", "from_host", "file", "credential", "unset")
    expected: ClassVar[str] = (
        "expected a string, { from_host = true }, { file = PATH }, { credential = NAME } or { unset = true }"
    )

    def label(self) -> str:
        return "string or table"

    def read(self, value: object) -> EnvSource:
        if isinstance(value, str):
            return Literal(_text(value))
        if not isinstance(value, dict):
            raise Wrong(f"{self.expected}{'; write it in quotes' if isinstance(value, (int, float)) else ''}")
        for name in value:
            if name not in (*self.forms, "secret"):
                raise Wrong("unknown key", nearest(name, (*self.forms, "secret")), inner=name)
        rest = dict(value)
        secret = rest.pop("secret", None)
        if secret is not None and not isinstance(secret, bool):
            raise Wrong("expected true or false", inner="secret")
        return self._read_form(rest, secret)

    def _read_form(self, form: dict[str, object], secret: bool | None) -> EnvSource:
        if len(form) == 1:
            match form:
                case {"value": str(text)}:
                    return Literal(_text(text), secret)
                case {"from_host": True}:
                    return FromHost(secret)
                case {"file": str(path)} if path:
                    return FromFile(path, secret)
                case {"credential": str(name)}:
                    return Credential(_credential_name(name), secret)
                case {"unset": True} if secret is None:
                    return Unset()
        raise Wrong(self.expected)

    def write(self, value: EnvSource) -> str:
        raise NotImplementedError  # what may be shown depends on the name: see `written`

    def json_schema(self) -> dict[str, Any]:
        secret = {"type": "boolean", "description": "Whether the value is never shown."}

        def form(name: str, value: dict[str, Any], *, may_be_secret: bool = True) -> dict[str, Any]:
            keys = {name: value} | ({"secret": secret} if may_be_secret else {})
            return {"type": "object", "properties": keys, "required": [name], "additionalProperties": False}

        text, path = {"type": "string"}, {"type": "string", "minLength": 1}
        return {
            "anyOf": [
                text,
                form("value", text),
                form("from_host", {"const": True}),
                form("file", path),
                form("credential", {"type": "string", "pattern": f"^{_CREDENTIAL}$"}),
                form("unset", {"const": True}, may_be_secret=False),
            ]
        }


# What systemd takes for a credential's name: that of a file, and no colon (systemd.exec(5)).
_CREDENTIAL = r"[A-Za-z0-9._@+-]{1,255}"


def _credential_name(name: str) -> str:
    if re.fullmatch(_CREDENTIAL, name) is None or name in {".", ".."}:
        raise Wrong("expected the name of a credential, such as LoadCredential= in a unit gives it", inner="credential")
    return name


def _text(value: str) -> str:
    if "\0" in value:
        raise Wrong("a variable can't hold a NUL character")
    return value


def written(name: str, source: EnvSource) -> str:
    """Return a variable as it would be written in TOML; a value that is secret is not shown."""
    match source:
        case FromHost():
            form = "from_host = true"
        case FromFile(path):
            form = f"file = {toml_text(path)}"
        case Credential(credential):
            form = f"credential = {toml_text(credential)}"
        case Unset():
            form = "unset = true"
        case Literal(text) | Dotenv(text) if not may_be_secret(name, source, text):
            if source.secret is None:
                return toml_text(text)
            form = f"value = {toml_text(text)}"
        case _:
            return NOT_SHOWN
    mark = "" if source.secret is None else f", secret = {str(source.secret).lower()}"
    return f"{{ {form}{mark} }}"


def may_be_secret(name: str, source: EnvSource, value: str) -> bool:
    """Whether a variable is not to be shown: as it says itself, else all but literals, and those that look like it."""
    if source.secret is not None:
        return source.secret
    return not isinstance(source, Literal) or looks_secret(name, value)
