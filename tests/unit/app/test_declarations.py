"""Decorators note what was declared, leave classes and functions as they are, and name every mistake."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import svcd
from svcd.app.apis import Task
from svcd.app.declare import apis_of, declaration_of, dependencies_of, hooks_of

if TYPE_CHECKING:
    from collections.abc import Iterator


@svcd.service
class Plain:
    @svcd.api
    def run(self) -> None: ...


def test_bare_decorator_keeps_the_class_a_class() -> None:
    declaration = declaration_of(Plain)
    assert declaration is not None
    assert declaration.name == "Plain"
    assert declaration.config == {}
    assert declaration.place == f"{__file__}:19"
    assert Plain().run() is None


def test_options_are_kept_as_written() -> None:
    @svcd.service(name="other", resources={"gpu": 1}, threads=2, start_timeout="3m", envs={"A": "b"})
    class Named: ...

    declaration = declaration_of(Named)
    assert declaration is not None
    assert declaration.name == "other"
    assert declaration.config == {"resources": {"gpu": 1}, "threads": 2, "start_timeout": "3m", "envs": {"A": "b"}}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resource": {}}, "unknown option 'resource'; did you mean 'resources'?"),
        ({"nam": "x"}, "did you mean 'name'?"),
        ({"qqq": 1}, "unknown option 'qqq'; known: "),
        ({"python": "x"}, "python belongs in svcd.toml"),
        ({"resources": 3}, "resources is a table"),
        ({"name": "a b"}, "letters, digits"),
    ],
)
def test_wrong_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(TypeError) as caught:

        @svcd.service(**options)
        class Wrong: ...

    assert message in str(caught.value)


def test_a_class_that_cannot_be_made_alone_is_refused() -> None:
    with pytest.raises(TypeError, match="__init__ needs path; svcd makes a service without arguments"):

        @svcd.service
        class Wrong:
            def __init__(self, path: str, depth: int = 3, **more: int) -> None: ...


def test_slots_are_refused() -> None:
    with pytest.raises(TypeError, match="__slots__ without __dict__"):

        @svcd.service
        class Wrong:
            __slots__ = ()


def test_a_subclass_is_no_service_until_it_says_so() -> None:
    class Child(Plain): ...

    assert declaration_of(Child) is None
    assert list(apis_of(Child)) == ["run"]
    assert declaration_of(svcd.service(Child)) is not None


def test_apis_know_their_colour() -> None:
    @svcd.service
    class Colours:
        @svcd.api
        def plain(self) -> None: ...

        @svcd.api(idempotent=True)
        async def waits(self) -> None: ...

        @svcd.api(name="items")
        def yields(self):
            yield 1

        @svcd.api
        async def yields_async(self):
            yield 1

    told = {
        name: (api.attribute, api.is_async, api.is_stream, api.idempotent) for name, api in apis_of(Colours).items()
    }
    assert told == {
        "plain": ("plain", False, False, False),
        "waits": ("waits", True, False, True),
        "items": ("yields", False, True, False),
        "yields_async": ("yields_async", True, True, False),
    }


def test_an_overridden_api_is_one_only_if_it_says_so() -> None:
    class Child(Plain):
        def run(self) -> None: ...

    assert apis_of(Child) == {}


def test_wrong_apis_are_named() -> None:
    with pytest.raises(TypeError, match="did you mean 'idempotent'"):

        @svcd.api(idempotant=True)
        def run(self) -> None: ...

    with pytest.raises(TypeError, match="args cannot be given by keyword"):

        @svcd.api
        def star(self, *args: int) -> None: ...

    with pytest.raises(TypeError, match="cannot be given by keyword"):

        @svcd.api
        def positional(self, x: int, /) -> None: ...

    with pytest.raises(TypeError, match="first parameter is self"):

        @svcd.api
        def no_self() -> None: ...

    with pytest.raises(TypeError, match="goes on a method"):
        svcd.api(staticmethod(lambda x: x))
    with pytest.raises(TypeError, match="'to_async' cannot be the name of an api"):

        @svcd.api
        def to_async(self) -> None: ...


def test_two_apis_of_one_name_are_refused() -> None:
    with pytest.raises(TypeError, match="first and second are both the api 'same'"):

        @svcd.service
        class Twice:
            @svcd.api(name="same")
            def first(self) -> None: ...

            @svcd.api(name="same")
            def second(self) -> None: ...


def test_an_unconnected_dependency_says_what_to_use() -> None:
    @svcd.service
    class Caller:
        plain = svcd.depends(Plain, timeout=2, retries=1, optional=True)
        named = svcd.depends("module:Class")

    edge = dependencies_of(Caller)["plain"]
    assert (edge.timeout, edge.retries, edge.optional, edge.target) == (2, 1, True, Plain)
    assert repr(dependencies_of(Caller)["named"]) == "<svcd.depends Caller.named -> module:Class>"
    with pytest.raises(RuntimeError, match=r"Caller\.plain is not connected.*svcd\.local\(Caller\)"):
        _ = Caller().plain
    caller = Caller()
    caller.plain = "a fake"
    assert caller.plain == "a fake"


@pytest.mark.parametrize(
    ("target", "options"), [("no name", {}), (":Class", {}), (3, {}), ("m:C", {"timeout": 0}), ("m:C", {"retries": -1})]
)
def test_wrong_dependencies_are_refused(target: object, options: dict[str, float]) -> None:
    with pytest.raises((TypeError, ValueError), match=r"svcd\.depends"):
        svcd.depends(target, **options)


def test_hooks_are_found_in_their_order() -> None:
    class Base:
        @svcd.on_startup
        def first(self) -> None: ...

    @svcd.service
    class Hooked(Base):
        @svcd.on_startup
        async def second(self) -> None: ...

        @svcd.on_shutdown
        def last(self) -> None: ...

    assert hooks_of(Hooked, "startup") == ["first", "second"]
    assert hooks_of(Hooked, "shutdown") == ["last"]


def test_declaring_costs_neither_trio_nor_pydantic() -> None:
    program = (
        "import sys, svcd\n"
        "assert not any(name.startswith('svcd.') for name in sys.modules), 'import svcd is lazy'\n"
        "svcd.service(type('A', (), {})), svcd.api, svcd.depends, svcd.InvalidArgument\n"
        "print({'trio', 'pydantic', 'pydantic_core', 'numpy', 'msgpack'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "set()\n", done.stderr


def test_every_public_name_is_there() -> None:
    assert [name for name in svcd.__all__ if getattr(svcd, name, None) is None] == []
    assert set(svcd.__all__) <= set(dir(svcd))
    with pytest.raises(AttributeError, match="no attribute 'servise'"):
        _ = svcd.servise


def test_tasks_say_how_often_and_how_long_they_run() -> None:
    @svcd.service
    class Work:
        @svcd.task
        async def once(self) -> None: ...

        @svcd.task(idempotent=True, timeout=3, name="often")
        def again(self) -> None: ...

        @svcd.task(idempotent=True, retries=7)
        def stubborn(self) -> None: ...

        @svcd.api
        def plain(self) -> None: ...

    found = {name: (api.idempotent, api.task) for name, api in apis_of(Work).items()}
    assert found == {
        "once": (False, Task(timeout=None, retries=0)),
        "often": (True, Task(timeout=3, retries=2)),
        "stubborn": (True, Task(timeout=None, retries=7)),
        "plain": (False, None),
    }


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"retries": 1}, TypeError, "retries is for tasks that may run twice; write idempotent=True with it"),
        ({"idempotent": True, "retries": -1}, ValueError, r"svcd\.task\(retries=-1\): 0 or more"),
        ({"timeout": 0}, ValueError, r"svcd\.task\(timeout=0\): seconds, more than 0"),
    ],
)
def test_tasks_that_cannot_be(options: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        svcd.task(**options)


def test_a_stream_is_no_task() -> None:
    with pytest.raises(TypeError, match=r"numbers: a stream cannot be a task; return the result as a whole"):

        @svcd.task
        def numbers(self: object) -> Iterator[int]:
            yield 1
