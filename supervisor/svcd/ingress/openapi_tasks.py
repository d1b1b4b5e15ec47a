"""The part of the OpenAPI document that tells of tasks: five paths for each. Pure."""

from __future__ import annotations

from typing import Any

from svcd.tasks.states import TaskStatus
from svcd.values.media import JSON

Schema = dict[str, Any]

STATUSES = (409, 507)
"""What only tasks are answered with."""
_USUAL = (400, 404, 405, 408, 413, 431, 500, 503)
"""What any request about a task may be answered with."""
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


def _parameter(name: str, text: str, *, required: bool = False, schema: Schema | None = None) -> Schema:
    schema = schema or {"type": "string", "pattern": ID_PATTERN}
    return {"name": name, "in": "query", "required": required, "description": text, "schema": schema}


def _answers(status: int, text: str, content: Schema, *problems: int) -> Schema:
    """Return the responses of an operation: the good one, the problems any of them has, and those of its own."""
    good = {str(status): {"description": text, "content": content}}
    return good | {str(problem): {"$ref": f"#/components/responses/{problem}"} for problem in (*_USUAL, *problems)}


_ID = _parameter("task_id", "Of the task.", required=True)
_CHOSEN = _parameter("task_id", "Its id, unless one is to be chosen; an id is accepted once.")
_NEW_ID = _parameter("new_id", "Its id, unless one is to be chosen.")
_WAIT = _parameter("wait", "Seconds to wait for its end, 60 at most.", schema={"type": "number", "minimum": 0})
_TAKEN = _answers(202, "On disk; it will run.", _TOLD, 406, 409, 415, 429, 502, 504, 507)
_TAKEN_AGAIN = _answers(202, "On disk; it will run.", _TOLD, 409, 429, 507)


def task_paths(name: str, called: Schema) -> dict[str, Schema]:
    """Return the paths of one task. `called` is the operation that calls it as an api."""

    def path(what: str, method: str, summary: str, parameters: list[Schema], answers: Schema, **more: Schema) -> Schema:
        operation = {"operationId": f"{name}.{what}", "tags": called["tags"], "summary": summary}
        return {f"/{name}/{what}": {method: operation | {"parameters": parameters, **more, "responses": answers}}}

    result = _answers(200, "The result.", called["responses"]["200"]["content"], 406, 409, 429, 502, 504, 507)
    return {
        **path(
            "submit", "post", f"Have {name} run in the background", [_CHOSEN], _TAKEN, requestBody=called["requestBody"]
        ),
        **path("status", "get", "Tell how far a task is", [_ID], _answers(200, "How far it is.", _TOLD, 507)),
        **path("get", "get", "Give the result of a task, or what became of it instead", [_ID, _WAIT], result),
        **path("retry", "post", "Submit the input of a task that has ended once more", [_ID, _NEW_ID], _TAKEN_AGAIN),
        **path(
            "cancel", "put", "Cancel a task that has not ended", [_ID], _answers(200, "What it is now.", _TOLD, 507)
        ),
    }
