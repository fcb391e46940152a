"""What all models of the schema share: names, strictness, unions, and rules told twice.

A rule that JSON Schema cannot say is written once, as a `Rule`: a Python predicate for
`fednas validate`, a CEL expression for the API server, one message for both.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Annotated, Any, ClassVar, Self, Union, cast, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    Strict,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError

__all__ = [
    "Int",
    "Model",
    "Number",
    "OneOf",
    "Rule",
    "Text",
    "fields_by_alias",
    "lookup",
    "model_of",
    "problem",
]

Int = Annotated[int, Strict()]
"""A whole number; neither text nor a boolean is taken for one."""
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Text = Annotated[str, Strict()]


@dataclass(frozen=True)
class Rule:
    """A condition on one model.

    Parameters
    ----------
    holds : callable
        Takes the validated model.
    cel : str
        The same over ``self``, for the API server.
    message : str
        What would be right: ``must be ...``.
    path : str
        The field to blame, in camelCase, relative to the model; empty for the model itself.
    """

    holds: Callable[[Any], bool]
    cel: str
    message: str
    path: str = ""

    def to_schema(self) -> dict[str, str]:
        """The entry of ``x-kubernetes-validations``."""
        entry = {"rule": self.cel, "message": self.message}
        if self.path:
            entry["fieldPath"] = "." + self.path
        return entry


def problem(message: str, loc: tuple[str | int, ...], value: object) -> InitErrorDetails:
    """One line of a `pydantic.ValidationError`, in our own words."""
    error = PydanticCustomError("rule", "{message}", {"message": message})
    return InitErrorDetails(type=error, loc=loc, input=value)


class Model(BaseModel):
    """Base of every object in the schema: frozen, camelCase outside, nothing unknown."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="wrap")
    @classmethod
    def _check(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Fields and rules together, so that one problem does not hide another."""
        if not isinstance(value, Mapping):
            return handler(value)
        fields = fields_by_alias(cls)
        # A null is an absent field, as it is for the API server.
        written = {k: v for k, v in value.items() if v is not None or k not in fields}
        lines = cls._check_written(written, value)
        model: Any
        try:
            model = handler(written)
        except ValidationError as error:
            lines += [_again(line) for line in error.errors(include_url=False)]
            model = _valid_part(cls, written)
        lines += cls._check_rules(model)
        if lines:
            raise ValidationError.from_exception_data(cls.__name__, lines)
        return cast("Self", model)

    @classmethod
    def _check_written(
        cls, written: Mapping[str, Any], value: Mapping[str, Any]
    ) -> list[InitErrorDetails]:
        """What is wrong with the choice of fields alone: without nulls, and as it came."""
        return []

    @classmethod
    def _check_rules(cls, model: Any) -> list[InitErrorDetails]:
        """What is wrong between fields; a rule over a field that is wrong itself is left out."""
        lines = []
        for rule in cls.rules:
            loc = tuple(rule.path.split(".")) if rule.path else ()
            try:
                if not rule.holds(model):
                    lines.append(problem(rule.message, loc, lookup(cls, model, loc)))
            except AttributeError:
                if isinstance(model, Model):
                    raise
        return lines

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core_schema)
        validations = [rule.to_schema() for rule in cls._schema_rules()]
        if validations:
            handler.resolve_ref_schema(schema)["x-kubernetes-validations"] = validations
        return schema

    @classmethod
    def _schema_rules(cls) -> tuple[Rule, ...]:
        return cls.rules


class OneOf(Model):
    """A union: every field is optional, and exactly one must be given.

    Members carry no default of their own, so that choosing one never adds another; the default
    lies where the union is used.
    """

    @property
    def chosen(self) -> tuple[str, Model]:
        """Name in camelCase and value of the member that is given: ``("netAdapt", ...)``.

        For unions whose members are models.
        """
        ((alias, member),) = (
            (alias, value)
            for alias, (name, _) in fields_by_alias(type(self)).items()
            if (value := getattr(self, name)) is not None
        )
        assert isinstance(member, Model), alias
        return alias, member

    @classmethod
    def _members(cls) -> list[str]:
        return list(fields_by_alias(cls))

    @classmethod
    def _message(cls) -> str:
        names = cls._members()
        if len(names) == 1:
            return f"must hold {names[0]}"
        return f"must hold exactly one of {', '.join(names)}"

    @classmethod
    def _schema_rules(cls) -> tuple[Rule, ...]:
        given = ", ".join(f"has(self.{name})" for name in cls._members())
        exactly_one = Rule(lambda _: True, f"[{given}].exists_one(x, x)", cls._message())
        return (exactly_one, *cls.rules)

    @classmethod
    def _check_written(
        cls, written: Mapping[str, Any], value: Mapping[str, Any]
    ) -> list[InitErrorDetails]:
        fields = fields_by_alias(cls)
        given = [alias for alias, (name, _) in fields.items() if {alias, name} & written.keys()]
        if len(given) == 1 or (not given and written):
            return []  # the second case is an unknown field, which is reported as such
        message = cls._message()
        if nulls := [alias for alias in fields if alias in value and value[alias] is None]:
            message += f"; an empty one is written {nulls[0]}: {{}}"
        return [problem(message, (), given)]


def _valid_part(model: type[Model], written: Mapping[str, Any]) -> SimpleNamespace:
    """The fields that are right by themselves, defaults included."""
    part = SimpleNamespace()
    for alias, (name, info) in fields_by_alias(model).items():
        value = written.get(alias, written.get(name))
        if value is None:
            if not info.is_required():
                setattr(part, name, info.get_default(call_default_factory=True))
            continue
        field: Any = Annotated[info.annotation, Ellipsis, *info.metadata]
        with suppress(ValidationError):
            setattr(part, name, TypeAdapter(field).validate_python(value))
    return part


def _again(line: Any) -> InitErrorDetails:
    """An error that pydantic reported, as it wants it to report it again."""
    kind, context = line["type"], line.get("ctx", {})
    if kind == "rule":
        return problem(context["message"], line["loc"], line["input"])
    return InitErrorDetails(type=kind, loc=line["loc"], input=line["input"], ctx=context)


def lookup(model: type[BaseModel], value: Any, loc: tuple[str, ...]) -> Any:
    """The value at a camelCase path, None where an object on the way is unset."""
    for part in loc:
        if value is None:
            return None
        value = getattr(value, fields_by_alias(model)[part][0])
        model = type(value)
    return value


def fields_by_alias(model: type[BaseModel]) -> dict[str, tuple[str, FieldInfo]]:
    """Name in camelCase -> (attribute, field), in order of declaration."""
    return {info.alias or name: (name, info) for name, info in model.model_fields.items()}


def model_of(annotation: Any) -> type[Model] | None:
    """The model behind ``X``, ``X | None``, ``tuple[X, ...]`` or an annotated one; else None."""
    if isinstance(annotation, type) and not get_args(annotation):
        return annotation if issubclass(annotation, Model) else None
    if get_origin(annotation) in (Union, types.UnionType, tuple, Annotated):
        for argument in get_args(annotation):
            if found := model_of(argument):
                return found
    return None
