"""The part of the OpenAPI document that tells of tasks: five paths for each. Pure."""

from __future__ import annotations

from typing import Any

from svcd.tasks.states import TaskStatus
from svcd.values.media import JSON

Schema = dict[str, Any]

STATUSES = (409, 507)
"""What only tasks are answered with."""
ID_PATTERN = "^[A-Za-z0-9_-]{8,64}$"

_TIME: Schema = {"type": ["string", "null"], "format": "date-time"}
TASK: Schema = {
    "type": "object",
    "description": "How far a task is.",
    "required": ["task_id", "status", "created_at", "attempts"],
    "properties": {
        "task_id": {"type": "string"},
        "status": {"type": "string", "enum": [str(status) for status in TaskStatus]},
        "created_at": {"type": "string", "format": "date-time"},
        "started_at": {**_TIME, "description": "When it was begun last."},
        "executed_at": {**_TIME, "description": "When it ended."},
        "expires_at": {**_TIME, "description": "When it is forgotten."},
        "attempts": {"type": "integer", "minimum": 0, "description": "How often it has been begun."},
        "retry_of": {"type": ["string", "null"], "description": "The task whose input it took over."},
        "error": {"type": ["object", "null"], "description": "What `get` answers with, in short."},
    },
}
_TOLD: Schema = {JSON: {"schema": {"$ref": "#/components/schemas/Task"}}}


def task_paths(name: str, called: Schema) -> dict[str, Schema]:
    """Return the paths of one task. `called` is the operation that calls it as an api."""
    body, answers = called["requestBody"], called["responses"]["200"]["content"]
    id_, new_id = _parameter("task_id"), _parameter("new_id", "Its id, unless one is to be chosen.")
    wait = _parameter("wait", "Seconds to wait for its end, 60 at most.", {"type": "number", "minimum": 0})
    usual = (400, 404, 405, 408, 413, 431, 500, 503)
    here = f"/{name}"
    mine = {**id_, "required": False, "description": "Its id, unless one is to be chosen; an id is accepted once."}
    return {
        f"{here}/submit": {
            "post": {
                **_head(called, name, "submit", f"Have {name} run in the background"),
                "parameters": [mine],
                "requestBody": body,
                "responses": _responses(
                    (*usual, 406, 409, 415, 429, 502, 504, 507), 202, "On disk; it will run.", _TOLD
                ),
            }
        },
        f"{here}/status": {
            "get": {
                **_head(called, name, "status", "Tell how far a task is"),
                "parameters": [id_],
                "responses": _responses((*usual, 507), 200, "How far it is.", _TOLD),
            }
        },
        f"{here}/get": {
            "get": {
                **_head(called, name, "get", "Give the result of a task, or what became of it instead"),
                "parameters": [id_, wait],
                "responses": _responses((*usual, 406, 409, 429, 502, 504, 507), 200, "The result.", answers),
            }
        },
        f"{here}/retry": {
            "post": {
                **_head(called, name, "retry", "Submit the input of a task that has ended once more"),
                "parameters": [id_, new_id],
                "responses": _responses((*usual, 409, 429, 507), 202, "On disk; it will run.", _TOLD),
            }
        },
        f"{here}/cancel": {
            "put": {
                **_head(called, name, "cancel", "Cancel a task that has not ended"),
                "parameters": [id_],
                "responses": _responses((*usual, 507), 200, "What it is now.", _TOLD),
            }
        },
    }


def _head(called: Schema, name: str, what: str, summary: str) -> Schema:
    return {"operationId": f"{name}.{what}", "tags": called["tags"], "summary": summary}


def _parameter(name: str, text: str = "Of the task.", schema: Schema | None = None) -> Schema:
    return {
        "name": name,
        "in": "query",
        "required": name == "task_id",
        "description": text,
        "schema": schema or {"type": "string", "pattern": ID_PATTERN},
    }


def _problem(status: int) -> Schema:
    return {"$ref": f"#/components/responses/{status}"}


def _responses(problems: tuple[int, ...], status: int, text: str, content: Schema) -> Schema:
    good = {str(status): {"description": text, "content": content}}
    return good | {str(problem): _problem(problem) for problem in problems}
