"""Declaring applications beside a service's apis."""

from __future__ import annotations

from typing import Any

import pytest

import svcd
from svcd.app.mounts import mounts_of


async def app(scope: Any, receive: Any, send: Any) -> None: ...


class Application:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


def make(service: object) -> Application:
    return Application()


def test_applications_and_makers_are_told_apart() -> None:
    @svcd.asgi_app(app, path="/a")
    @svcd.service
    @svcd.asgi_app(Application(), path="/b/c")
    @svcd.asgi_app(make)
    class Entry: ...

    assert {mount.path: mount.is_factory for mount in mounts_of(Entry)} == {"": True, "/b/c": False, "/a": False}
    made = {mount.path: mount.make(Entry()) for mount in mounts_of(Entry)}
    assert made["/a"] is app
    assert isinstance(made[""], Application)


def test_a_subclass_has_its_own_and_its_base_s() -> None:
    @svcd.asgi_app(app, path="/a")
    class Base: ...

    @svcd.asgi_app(app, path="/b")
    class Entry(Base): ...

    assert [mount.path for mount in mounts_of(Entry)] == ["/a", "/b"]
    assert [mount.path for mount in mounts_of(Base)] == ["/a"]


@pytest.mark.parametrize("path", ["", "a", "/a/", "/a b", "/../x?", "//", "/a//b"])
def test_a_path_that_is_none_is_refused(path: str) -> None:
    with pytest.raises(TypeError, match="write it as '/name'"):
        svcd.asgi_app(app, path=path)


def test_taken_paths_are_refused() -> None:
    with pytest.raises(TypeError, match="svcd has a page of its own there"):
        svcd.asgi_app(app, path="/livez")
    with pytest.raises(TypeError, match="two applications at /a"):

        @svcd.asgi_app(app, path="/a")
        @svcd.asgi_app(app, path="/a")
        class Twice: ...

    with pytest.raises(TypeError, match="is the path of the api 'score'"):

        @svcd.asgi_app(app, path="/score")
        class Scored:
            @svcd.api
            def score(self) -> None: ...


@pytest.mark.parametrize("what", [3, "app", lambda: None, lambda a, b: None])
def test_what_is_no_application_is_refused(what: Any) -> None:
    with pytest.raises(TypeError, match="takes an ASGI application"):
        svcd.asgi_app(what)


def test_a_maker_that_makes_none_is_named() -> None:
    @svcd.asgi_app(lambda service: 3, path="/x")
    class Entry: ...

    with pytest.raises(TypeError, match="which is no ASGI app"):
        mounts_of(Entry)[0].make(Entry())


def test_it_goes_on_a_class() -> None:
    with pytest.raises(TypeError, match="goes on a class"):
        svcd.asgi_app(app, path="/x")(3)  # type: ignore[type-var]  # that is the point
