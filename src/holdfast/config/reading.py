"""From plain values to the models of the stack file: strictly, and with everything that is wrong at once.

Strict means that YAML's own type must fit: ``threads: "4"`` and ``stack: 5`` are mistakes, not conversions.
"""

from __future__ import annotations

import re
from functools import partial
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, cast, get_args, get_origin

from msgspec import Meta
from msgspec.structs import fields

from holdfast.config.base import After, Before, ConfigModel, MistakeError
from holdfast.config.complaints import Complaints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from holdfast.config.document import Document, Location

Model = TypeVar("Model", bound=ConfigModel)
Plain = dict[str, object]


def read_model(model: type[Model], document: Document) -> Model:
    """Return what a document says as a model. Raises ConfigError, which tells all that is wrong with it."""
    complaints = Complaints(document)
    try:
        return cast("Model", _Reader(complaints, document.path.absolute().parent).read(model, document.content, ()))
    except _RefusedError:
        raise complaints.error() from None


class _RefusedError(Exception):
    """What is wrong with a value was noted, and there is none to go on with."""


class _Reader:
    """Reads values by their types (``config.base``); ``directory`` is where relative paths start."""

    def __init__(self, complaints: Complaints, directory: Path) -> None:
        self._complaints = complaints
        self._directory = directory

    def read(self, kind: Any, value: object, at: Location) -> object:  # noqa: ANN401 - a type, as typing has it
        """Return the value at a place of the document as its type has it. Raises _RefusedError."""
        origin, parts = get_origin(kind), get_args(kind)
        if origin is Annotated:
            return self._annotated(kind, value, at)
        if origin is Literal:
            return self._word(parts, value, at)
        if NoneType in parts:
            return None if value is None else self.read(_member(parts, value), value, at)
        self._require_type(origin or kind, value, at)
        match value:
            case list():
                return self._all(partial(self.read, parts[0], item, (*at, place)) for place, item in enumerate(value))
            case dict():
                return self._by_name(kind, value, at) if origin is dict else self._model(kind, value, at)
        return value

    def _annotated(self, kind: Any, value: object, at: Location) -> object:  # noqa: ANN401
        marks = kind.__metadata__
        for mark in marks:
            if isinstance(mark, Before):
                value = self._converted(mark.convert, value, at)
        value = self.read(kind.__origin__, value, at)
        for mark in marks:
            if isinstance(mark, Meta):
                self._require_within(mark, value, at)
            elif isinstance(mark, After):
                value = self._converted(mark.convert, value, at)
        return value

    def _converted(self, convert: Callable[[Any, Path], object], value: object, at: Location) -> object:
        try:
            return convert(value, self._directory)
        except MistakeError as mistake:
            self._complaints.of_mistake(at, mistake)
            raise _RefusedError from None

    def _require_within(self, bounds: Meta, value: Any, at: Location) -> None:  # noqa: ANN401
        if bounds.pattern is not None and not _fits(bounds.pattern, value):
            self._complaints.of_pattern(at, bounds.pattern, value)
        elif bounds.min_length is not None and len(value) < bounds.min_length:
            self._complaints.of_length(at, bounds.min_length)
        elif bounds.ge is not None and value < bounds.ge:
            self._complaints.of_bound(at, f"{bounds.ge} at least")
        elif bounds.le is not None and value > bounds.le:
            self._complaints.of_bound(at, f"{bounds.le} at most")
        else:
            return
        raise _RefusedError

    def _word(self, allowed: tuple[object, ...], value: object, at: Location) -> object:
        if any(value == each and type(value) is type(each) for each in allowed):  # 1 is True
            return value
        self._complaints.of_word(at, allowed, value)
        raise _RefusedError

    def _require_type(self, kind: type, value: object, at: Location) -> None:
        expected = dict if issubclass(kind, ConfigModel) else kind
        if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
            self._complaints.of_type(at, expected, value)
            raise _RefusedError

    def _all(self, readings: Iterable[Callable[[], object]]) -> list[object]:
        """Return what each reading gives; all are made before the first one that is refused refuses them all."""
        found, is_refused = [], False
        for reading in readings:
            try:
                found.append(reading())
            except _RefusedError:
                is_refused = True
        if is_refused:
            raise _RefusedError
        return found

    def _by_name(self, mapping: Any, content: Plain, at: Location) -> Plain:  # noqa: ANN401
        name_kind, kind = get_args(mapping)

        def entry(name: str) -> object:
            _, value = self._all(
                [partial(self.read, name_kind, name, (*at, name)), partial(self.read, kind, content[name], (*at, name))]
            )
            return value

        return dict(zip(content, self._all(partial(entry, name) for name in content), strict=True))

    def _model(self, model: type[ConfigModel], content: Plain, at: Location) -> ConfigModel:
        """Return a model whose keys are all known, right, and go together."""
        keys = {each.name: each for each in fields(model)}

        def entry(name: str) -> object:
            if name in keys:
                return self.read(keys[name].type, content[name], (*at, name))
            self._complaints.of_unknown_key((*at, name), keys)
            raise _RefusedError

        missing = [each.name for each in keys.values() if each.required and each.name not in content]
        for name in missing:
            self._complaints.of_missing_key(at, name)
        values = self._all(partial(entry, name) for name in content)
        if missing:
            raise _RefusedError
        return self._checked(model(**dict(zip(content, values, strict=True))), at)

    def _checked(self, model: ConfigModel, at: Location) -> ConfigModel:
        try:
            model.check()
        except MistakeError as mistake:
            self._complaints.of_mistake(at, mistake)
            raise _RefusedError from None
        return model


def _fits(pattern: str, text: str) -> bool:
    """Whether a text fits a pattern as JSON Schema has it, where ``$`` is the very end."""
    return (re.fullmatch if pattern.endswith("$") else re.match)(pattern, text) is not None


def _member(members: tuple[Any, ...], value: object) -> Any:  # noqa: ANN401
    """Return what a value can only mean of a union: the type that it has, or else the last one."""
    others = [each for each in members if each is not NoneType]
    return next((each for each in others if each is type(value)), others[-1])
