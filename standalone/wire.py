"""The edge to Pulumi's protocol: protobuf messages <-> our values. The only module that touches their types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import struct_pb2
from pulumi.runtime.proto import resource_pb2

from standalone.values import (
    SECRET_SIGNATURE,
    SIGNATURE,
    UNKNOWN,
    UNKNOWN_TEXT,
    Props,
    Secret,
    Unknown,
    Value,
)

STACK_TYPE = "pulumi:pulumi:Stack"
PROVIDER_PREFIX = "pulumi:providers:"


def _number(number: float) -> int | float:
    # Protobuf knows doubles only; the state has 22, not 22.0.
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def from_value(value: struct_pb2.Value) -> Value:
    """A protobuf value as ours."""
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return UNKNOWN if value.string_value == UNKNOWN_TEXT else value.string_value
    if kind == "number_value":
        return _number(value.number_value)
    if kind == "bool_value":
        return value.bool_value
    if kind == "list_value":
        return [from_value(item) for item in value.list_value.values]
    if kind == "struct_value":
        fields = value.struct_value.fields
        if SIGNATURE in fields and fields[SIGNATURE].string_value == SECRET_SIGNATURE:
            return Secret(from_value(fields["value"]))
        return {key: from_value(item) for key, item in sorted(fields.items())}
    return None


def from_struct(struct: struct_pb2.Struct) -> Props:
    """A protobuf struct as properties."""
    return {key: from_value(item) for key, item in sorted(struct.fields.items())}


def to_value(value: Value) -> struct_pb2.Value:
    """Our value as protobuf, secrets marked as such."""
    if isinstance(value, Secret):
        inner = {SIGNATURE: struct_pb2.Value(string_value=SECRET_SIGNATURE), "value": to_value(value.value)}
        return struct_pb2.Value(struct_value=struct_pb2.Struct(fields=inner))
    if isinstance(value, Unknown):
        return struct_pb2.Value(string_value=UNKNOWN_TEXT)
    if isinstance(value, bool):
        return struct_pb2.Value(bool_value=value)
    if isinstance(value, (int, float)):
        return struct_pb2.Value(number_value=value)
    if isinstance(value, str):
        return struct_pb2.Value(string_value=value)
    if isinstance(value, list):
        return struct_pb2.Value(list_value=struct_pb2.ListValue(values=[to_value(item) for item in value]))
    if isinstance(value, dict):
        return struct_pb2.Value(struct_value=to_struct(value))
    return struct_pb2.Value(null_value=struct_pb2.NullValue.NULL_VALUE)


def to_struct(props: Props) -> struct_pb2.Struct:
    """Properties as protobuf."""
    return struct_pb2.Struct(fields={key: to_value(item) for key, item in props.items()})


@dataclass(frozen=True)
class AliasSpec:
    """One former name of a resource: a whole URN, or the parts that differed."""

    urn: str = ""
    name: str = ""
    type: str = ""
    project: str = ""
    stack: str = ""
    parent: str = ""
    no_parent: bool = False


@dataclass
class Goal:
    """A resource as the program wants it."""

    urn: str
    type: str
    name: str
    custom: bool
    inputs: Props
    parent: str
    dependencies: list[str]
    property_dependencies: dict[str, list[str]]
    provider: str = ""
    version: str = ""
    protect: bool | None = None
    retain_on_delete: bool | None = None
    delete_before_replace: bool = False
    ignore_changes: list[str] = field(default_factory=list[str])
    replace_on_changes: list[str] = field(default_factory=list[str])
    secret_outputs: list[str] = field(default_factory=list[str])
    aliases: list[AliasSpec] = field(default_factory=list[AliasSpec])
    refused: str = ""


def qualified_urn(stack: str, project: str, parent: str, type_: str, name: str) -> str:
    """The URN as the engine builds it: the types of all parents but the stack, joined with `$`."""
    parent_type = parent.split("::")[2] if parent else ""
    qualified = type_ if parent_type in ("", STACK_TYPE) else f"{parent_type}${type_}"
    return f"urn:pulumi:{stack}::{project}::{qualified}::{name}"


def urn_name(urn: str) -> str:
    """The logical name in a URN."""
    return urn.split("::", 3)[3]


def goal_from_request(request: Any, stack: str, project: str) -> Goal:
    """Read a RegisterResourceRequest."""
    dependencies: Mapping[str, Any] = request.propertyDependencies
    refused = ""
    if request.importId:
        refused = "import of existing resources needs the Pulumi CLI"
    elif request.remote:
        refused = "components of other languages need the Pulumi CLI"
    elif request.transforms:
        refused = "resource transforms need the Pulumi CLI"
    return Goal(
        urn=qualified_urn(stack, project, request.parent, request.type, request.name),
        type=request.type,
        name=request.name,
        custom=request.custom,
        inputs=from_struct(request.object),
        parent=request.parent,
        dependencies=sorted(request.dependencies),
        property_dependencies={key: sorted(deps.urns) for key, deps in sorted(dependencies.items())},
        provider=request.provider,
        version=request.version,
        protect=request.protect if request.HasField("protect") else None,
        retain_on_delete=request.retainOnDelete if request.HasField("retainOnDelete") else None,
        delete_before_replace=request.deleteBeforeReplace,
        ignore_changes=list(request.ignoreChanges),
        replace_on_changes=list(request.replaceOnChanges),
        secret_outputs=list(request.additionalSecretOutputs),
        aliases=[_alias(alias) for alias in request.aliases],
        refused=refused,
    )


def _alias(alias: Any) -> AliasSpec:
    if alias.urn:
        return AliasSpec(urn=alias.urn)
    spec = alias.spec
    return AliasSpec("", spec.name, spec.type, spec.project, spec.stack, spec.parentUrn, spec.noParent)


def answer(urn: str, id_: str = "", outputs: Props | None = None, failed: bool = False) -> Any:
    """A RegisterResourceResponse. `failed` makes the SDK resolve every output as unknown and go on."""
    return resource_pb2.RegisterResourceResponse(
        urn=urn,
        id=id_,
        object=to_struct(outputs or {}),
        result=resource_pb2.Result.FAIL if failed else resource_pb2.Result.SUCCESS,
    )


def invoke_answer(result: Props) -> Any:
    """A ResourceInvokeResponse."""
    fields: Any = {"return": to_struct(result)}  # a keyword that Python doesn't let us write
    return resource_pb2.ResourceInvokeResponse(**fields)


def features() -> Any:
    """The DeploymentInfo: what of the protocol this engine really does."""
    known: Any = resource_pb2
    return known.DeploymentInfo(
        supportedFeatures=[
            known.RESOURCE_MONITOR_FEATURE_SECRETS,
            known.RESOURCE_MONITOR_FEATURE_RESOURCE_REFERENCES,
            known.RESOURCE_MONITOR_FEATURE_ALIAS_SPECS,
        ]
    )
