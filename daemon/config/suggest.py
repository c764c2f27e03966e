"""Finds what a wrong key was meant to be: walks the models along a path and names the closest key there, or elsewhere."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterator
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

Location = tuple[str | int, ...]


def key_of(name: str, field: FieldInfo) -> str:
    """The key as it is written in the file."""
    return field.alias or name


def keys_of(model: type[BaseModel]) -> list[str]:
    return [key_of(name, field) for name, field in model.model_fields.items()]


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models an annotation allows directly: of X | None, of Annotated[A | B, …], of X."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) is Annotated:
        return models_in(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [model for part in get_args(annotation) for model in models_in(part)]
    return []


def _without_extras(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _tag(field_model: type[BaseModel]) -> tuple[str, ...]:
    """The values of the discriminator of one branch of a union."""
    for name in ("format", "model"):
        field = field_model.model_fields.get(name)
        if field is not None:
            return tuple(str(value) for value in get_args(field.annotation))
    return ()


def display_path(root: type[BaseModel], location: Location) -> tuple[str, type[BaseModel] | None]:
    """(the location as a person writes it, the model that holds its last key); pydantic's union tags are left out."""
    text = ""
    models: list[type[BaseModel]] = [root]
    holder: type[BaseModel] | None = None
    annotation: Any = root
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
            annotation = _item_of(annotation)
            models = models_in(annotation)
            continue
        tagged = [model for model in models if part in _tag(model)] if len(models) > 1 else []
        if tagged:
            models = tagged
            continue
        shown = part if part.replace("_", "").replace("-", "").isalnum() else f'"{part}"'
        text += f".{shown}" if text else shown
        holder = models[0] if models else None
        field = _field(models[0], part) if models else None
        annotation = field.annotation if field is not None else _item_of(annotation) if not models else None
        models = models_in(annotation)
    return text, holder


def _item_of(annotation: Any) -> Any:
    """X of list[X] and of dict[str, X]."""
    arguments = get_args(_without_extras(annotation))
    return arguments[-1] if arguments else None


def _field(model: type[BaseModel], key: str) -> FieldInfo | None:
    return next((field for name, field in model.model_fields.items() if key_of(name, field) == key), None)


def all_paths(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """(key, full path) of every key of every model below."""
    for name, field in model.model_fields.items():
        key = key_of(name, field)
        path = f"{prefix}{key}"
        yield key, path
        annotation = _without_extras(field.annotation)
        nested = models_in(annotation)
        suffix = "."
        if not nested and get_origin(annotation) in (list, dict):
            nested = models_in(_item_of(annotation))
            suffix = "[0]." if get_origin(annotation) is list else ".NAME."
        for inner in nested:
            yield from all_paths(inner, f"{path}{suffix}")


def suggestion(root: type[BaseModel], holder: type[BaseModel] | None, key: str, parent: str) -> str:
    """ "; did you mean …?" with the full path, or the list of what is allowed there."""
    here = keys_of(holder) if holder is not None else []
    close = difflib.get_close_matches(key, here, n=1)
    if close:
        return f"; did you mean {parent + '.' if parent else ''}{close[0]}?"
    known = dict(reversed(list(all_paths(root))))
    elsewhere = difflib.get_close_matches(key, known, n=1, cutoff=0.8)
    if elsewhere:
        return f"; did you mean {known[elsewhere[0]]}?"
    return f"; the keys here are {', '.join(here)}" if here else ""
