"""How a handler's parameters get their values: a plan per function, compiled once."""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable, Iterator
from inspect import Parameter as Signed
from typing import TYPE_CHECKING, Annotated, Any, NewType, TypeVar

from micropie.exceptions import HTTPError
from micropie.request.uploads import is_blank

from .converters import MISFITS, TEXT, Convert, Repeated, conversion, unwrapped

if TYPE_CHECKING:
    from micropie.request.request import Request

__all__ = ["FromSession"]

T = TypeVar("T")


class _SessionOnly:
    """The mark in an annotation that says where the value has to come from."""


#: ``x: FromSession[int]``: a parameter that comes from the session and from nowhere else.
#:
#: Use it for identity.  A plain parameter is filled from the path or the query string first, so anybody
#: could name another user in the URL.  Missing, or of another type, and without a default, the answer is 401.
#: Where it could not be enforced, as on ``*args`` or as a default, it is a :exc:`TypeError` when the app is made.
FromSession = Annotated[T, _SessionOnly()]


def is_session_only(annotation: Any, outer: tuple[Any, ...] = ()) -> bool:
    """Whether the mark stands anywhere in an annotation: before ``| None``, behind the name of a type.

    Wherever it stands, its writer relies on it, so it is never passed over.

    Raises:
        TypeError: For one behind a NewType or a type variable, whose type is that of many values.
    """
    if any(annotation is one for one in outer):  # a type that contains itself
        return False
    outer = (*outer, annotation)
    marks = annotation.__metadata__ if typing.get_origin(annotation) is Annotated else ()
    if any(isinstance(mark, _SessionOnly) or is_session_only(mark, outer) for mark in marks):
        return True
    if any(is_session_only(part, outer) for part in _hidden(annotation)):
        raise TypeError(
            f"{annotation} cannot hide a FromSession; write FromSession in the parameter's own annotation"
        )
    inner = [unwrapped(annotation), *typing.get_args(annotation)]
    return any(is_session_only(part, outer) for part in inner if part is not annotation)


def _hidden(annotation: Any) -> list[Any]:
    """What stands behind a name that is used for other things than parameters, too."""
    if isinstance(annotation, NewType):
        return [annotation.__supertype__]
    if isinstance(annotation, TypeVar):
        return [annotation.__bound__, *annotation.__constraints__, getattr(annotation, "__default__", None)]
    return []


class Parameter:
    """One parameter of a handler: its name, where its value may come from and what it must be."""

    __slots__ = (
        "any_text",
        "as_sent",
        "convert",
        "default",
        "file",
        "in_path",
        "kind",
        "many",
        "name",
        "session_only",
    )

    def __init__(self, name: str, annotation: Any, default: Any, *, star: str = "") -> None:
        self.name: str = name
        self.default: Any = default
        self.session_only: bool = is_session_only(annotation)
        if self.session_only and star:
            raise TypeError(f"{star}{name} cannot be a FromSession; give the value a parameter of its own")
        if is_session_only(default):
            raise TypeError("FromSession is an annotation, not a default: write it after a colon")
        found = conversion(annotation, stored=self.session_only)
        #: What its value must be, in words.
        self.kind: str = "" if found is None else found.kind
        self.convert: Convert | None = None if found is None else found.convert
        #: Whether it takes every value of a repeated name.
        self.many: bool = found is not None and found.repeated
        #: Whether it can be a file.
        self.file: bool = found is not None and found.file and not self.session_only
        #: Whether a path segment can be its value.
        self.in_path: bool = not self.session_only and (found is None or found.from_text)
        if star == "*" and not self.in_path:
            raise TypeError(f"*{name} takes path segments, and none can be {self.kind}")
        #: Whether it takes the first value as it was sent.
        self.as_sent: bool = found is None
        #: Whether it takes any text as it was sent.
        self.any_text: bool = found is None or found is TEXT

    def from_path(self, segment: str) -> Any:
        """The value of a path segment.

        Raises:
            HTTPError: 404, for a segment that does not convert: there is no such page.
        """
        if self.any_text or self.convert is None:
            return segment
        try:
            return self.convert(segment)
        except MISFITS:
            raise HTTPError(404) from None

    def find(self, request: Request) -> Any:
        """The value from query string, body, session or default, the first that has it.

        Raises:
            HTTPError: 400 if it is nowhere or does not convert; 401 if only the session may have it.
        """
        if self.file:
            return self._find_file(request)
        if not self.session_only:
            query = request.x_query
            if query is None:
                query = request.x_read_query()
            values: list[Any] | None = query.get(self.name)
            contents = request.x_contents
            if not values and contents is not None:
                # PERF: as values() has it, but for a call and a list
                if contents.fields is not None:
                    values = contents.fields.get(self.name)
                elif type(contents.json) is dict and self.name in contents.json:
                    value = contents.json[self.name]
                    if self.as_sent or (self.any_text and isinstance(value, str)):
                        return value
                    return self._converted([value])
                values = values or contents.values(self.name)
            if values:
                if self.as_sent or (self.any_text and isinstance(values[0], str)):
                    return values[0]
                return self._converted(values)
        # Without a view the client has sent no cookie; what only a session can hold is asked for all the same, since
        # the answer is another one for those who have one.
        if self.session_only or request.x_view is not None:
            session = request.x_session().look()
            if self.name in session:
                return self._stored(session[self.name])
        return self._missing()

    def _stored(self, value: Any) -> Any:
        """A value of the session; what does not fit is of no use to the handler, so it counts as missing."""
        if self.convert is None:
            return value
        try:
            return self.convert(value)
        except MISFITS:
            return self._missing()

    def _missing(self) -> Any:
        if self.default is not Signed.empty:
            return self.default
        if self.session_only:
            raise HTTPError(401)
        raise HTTPError(400, f"the parameter {self.name!r} is missing")

    def _find_file(self, request: Request) -> Any:
        """A file comes from the body alone; text under its name converts to none."""
        contents = request.x_contents
        files = None if contents is None else contents.uploads(self.name)
        if files is None:
            sent = request.query_params.get(self.name) or (contents and contents.values(self.name))
            if sent:
                return self._converted(sent)
        else:
            chosen = [file for file in files if not is_blank(file)]
            if chosen:
                return self._converted(chosen)
        if self.default is not Signed.empty:
            return self.default
        if files is None:
            raise HTTPError(400, f"the parameter {self.name!r} is missing")
        return self._converted([[]] if self.many else [""])  # an input that was left empty

    def _converted(self, values: list[Any]) -> Any:
        value = values[0]
        if self.convert is None:
            return value
        if self.many and not (len(values) == 1 and isinstance(value, list)):  # JSON has lists of its own
            value = Repeated(values)
        try:
            return self.convert(value)
        except MISFITS:
            raise HTTPError(400, f"the parameter {self.name!r} must be {self.kind}") from None


class Plan:
    """How to call one function: which parameters it has and where their values come from.

    Args:
        function: The handler as it stands in the class, ``self`` first.
        skip: How many leading parameters the framework fills itself.
        exact: Whether path segments that fit no parameter are an error.
    """

    __slots__ = ("by_name", "empty", "extra", "keyword", "most", "names", "positional", "rest")

    def __init__(self, function: Callable[..., Any], skip: int, *, exact: bool = True) -> None:
        parameters = list(signature_of(function).parameters.values())[skip:]

        def of(*kinds: Any) -> list[Parameter]:
            return [_parameter(function, p) for p in parameters if p.kind in kinds]

        self.positional: list[Parameter] = of(Signed.POSITIONAL_ONLY, Signed.POSITIONAL_OR_KEYWORD)
        self.keyword: list[Parameter] = of(Signed.KEYWORD_ONLY)
        self.rest: Parameter | None = next(iter(of(Signed.VAR_POSITIONAL)), None)
        self.extra: Parameter | None = next(iter(of(Signed.VAR_KEYWORD)), None)
        fitting = sum(parameter.in_path for parameter in self.positional)
        #: How many path segments it takes at most: with more, there is no such page.
        self.most: int = fitting if exact and self.rest is None else sys.maxsize
        #: Whether there is something to bind by name.
        self.by_name: bool = bool(self.keyword or self.extra)
        #: Whether there is nothing to bind.
        self.empty: bool = not (self.positional or self.rest or self.by_name)
        # What **kwargs never gets: also "self" and "ws", which a query string must not set a second time.
        self.names: set[str] = {
            p.name
            for layer in _layers(function)
            for p in signature_of(layer).parameters.values()
            if p.kind not in (Signed.VAR_POSITIONAL, Signed.VAR_KEYWORD)
        }

    @property
    def takes_segments(self) -> bool:
        """Whether path segments can become arguments."""
        return self.rest is not None or any(p.in_path for p in self.positional)

    def check(self, segments: list[str]) -> None:
        """Refuse path segments that cannot become arguments: before a body is read for them.

        Raises:
            HTTPError: 404.
        """
        if len(segments) > self.most:
            raise HTTPError(404)
        fitting = [parameter for parameter in self.positional if parameter.in_path]
        for parameter, segment in zip(fitting, segments, strict=False):
            parameter.from_path(segment)

    def wanted(self, segments: list[str], request: Request) -> set[str | None]:
        """The names that only the body can still give; None stands for all of it."""
        named = [p for p in self.positional if p.in_path][len(segments) :]
        named += [p for p in self.positional if not (p.in_path or p.session_only)]
        named += [p for p in self.keyword if not p.session_only]
        names: set[str | None] = {p.name for p in named if p.file or p.name not in request.query_params}
        return names if names and self.extra is None and not any(p.many for p in named) else {None}

    def apply(self, function: Callable[..., Any], request: Request, arguments: list[Any]) -> Any:
        """Call a function with the arguments that the plan finds.

        Args:
            function: The one that was planned for, or one that takes the same.
            request: Where they come from: the path segments after the one that named the handler, and all else.
            arguments: Those that come first; the others are added.

        Returns:
            What the function returns.

        Raises:
            HTTPError: 404, 400 or 401, as :class:`Parameter` says, or 404 for too many segments.
        """
        segments = request.x_segments or ()
        used, count = 0, len(segments)
        if count > self.most:  # before anything is missing: there is no such page
            raise HTTPError(404)
        for parameter in self.positional:
            if used < count and parameter.in_path:
                segment = segments[used]
                arguments.append(segment if parameter.any_text else parameter.from_path(segment))
                used += 1
            else:
                arguments.append(parameter.find(request))
        if used < count and self.rest is not None:
            arguments += map(self.rest.from_path, segments[used:])
        if not self.by_name:
            return function(*arguments)
        keywords = {parameter.name: parameter.find(request) for parameter in self.keyword}
        if self.extra is not None:
            self._add_extra(self.extra, request, keywords)
        return function(*arguments, **keywords)

    def _add_extra(self, extra: Parameter, request: Request, keywords: dict[str, Any]) -> None:
        sent: dict[str, list[Any] | None] = dict(request.query_params)
        contents = request.x_contents
        if contents is not None:
            for name in contents.names():
                sent[name] = sent.get(name) or contents.values(name)
        for name, came in sent.items():
            # A file input that was left empty is missing.
            values = [value for value in came or () if not is_blank(value)] if extra.file else came
            if values and name not in self.names:
                keywords[name] = extra._converted(values)


def _layers(function: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """The function under a bound method, and what its decorators have wrapped."""
    layer: Any = getattr(function, "__func__", function)
    while layer is not None:
        yield layer
        layer = getattr(layer, "__wrapped__", None)


def signature_of(function: Callable[..., Any]) -> inspect.Signature:
    """The signature of a handler, whether or not its annotations can be resolved.

    Raises:
        TypeError: For a method without any parameter, which cannot be bound.
    """
    try:
        if sys.version_info >= (3, 14):
            from annotationlib import Format

            return inspect.signature(function, annotation_format=Format.FORWARDREF)
        return inspect.signature(function)
    except ValueError:
        name = getattr(function, "__qualname__", repr(function))
        raise TypeError(f"{name} has no 'self': write it as the first parameter") from None


_STARS: dict[Any, str] = {Signed.VAR_POSITIONAL: "*", Signed.VAR_KEYWORD: "**"}


def _parameter(function: Callable[..., Any], parameter: Signed) -> Parameter:
    annotation = _resolved(function, parameter)
    try:
        return Parameter(parameter.name, annotation, parameter.default, star=_STARS.get(parameter.kind, ""))
    except TypeError as error:
        name = getattr(function, "__qualname__", repr(function))
        raise TypeError(f"the parameter {parameter.name!r} of {name}: {error}") from None


def _resolved(function: Callable[..., Any], parameter: Signed) -> Any:
    """What an annotation stands for.

    One that cannot be resolved might be a FromSession, so it is never passed over: the parameter would
    silently be open to the URL.
    """
    if parameter.annotation is Signed.empty:
        return None

    def holder() -> None: ...

    holder.__annotations__ = {"it": parameter.annotation}
    inner = inspect.unwrap(function)
    scope = getattr(inner, "__globals__", {})
    variables = {variable.__name__: variable for variable in getattr(inner, "__type_params__", ())}
    try:
        return typing.get_type_hints(holder, scope, variables, include_extras=True)["it"]
    except Exception as error:
        name = getattr(function, "__qualname__", repr(function))
        raise TypeError(
            f"the annotation of {parameter.name!r} in {name} cannot be resolved: {error}"
        ) from error
