"""The keys of background tasks."""

from __future__ import annotations

from svcd.config.keys import Key
from svcd.config.kinds import Duration, FilePath, Size, Whole
from svcd.values.tasks import TaskSettings

_TASKS = TaskSettings()

TASK_KEYS = (
    Key(
        "app.tasks.store",
        FilePath(),
        "The file that keeps [background tasks](services.md#background-tasks). On a local disk.",
        default_text="`tasks.sqlite3` in the [state directory](operating.md#files)",
    ),
    Key(
        "app.tasks.max_queued",
        Whole(1),
        "Tasks that wait to be begun. One more is answered 429.",
        default=_TASKS.max_queued,
    ),
    Key(
        "app.tasks.max_size",
        Size(),
        "Of all inputs and results that are kept. Beyond it a task is answered 507; what was accepted still runs.",
        default=_TASKS.max_size,
    ),
    Key(
        "app.tasks.result_ttl",
        Duration(),
        "For how long a task and its result are kept once it has ended.",
        default=_TASKS.result_ttl,
    ),
    Key(
        "app.tasks.concurrency",
        Whole(1),
        "Tasks that one ingress process has running at once.",
        default_text="as many as the entry's replicas admit",
    ),
)
