"""What the policy kinds share (GEP-713): their targets, and how layers of them merge.

Every field of a policy's spec is None where the policy does not say it: a less specific policy may. A
section (a mapping within the spec) merges field by field, unless its shape says `WHOLE`: then the most
specific policy that says it says all of it. `disabled: true` switches a section off.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeVar

from pydantic import Field

from dragoman.translators.gateway.models import meta

WHOLE = "WHOLE"
"""Name of the class attribute of shapes that are taken over or replaced as a whole."""


@meta.shape
class TargetRef:
    """An object of the policy's namespace, or a part of it: a listener of a Gateway or ListenerSet, a rule
    of a route, a port of a Service."""

    kind: Annotated[meta.Kind, Field(description="Kind of the target.")]
    name: Annotated[meta.ObjectName, Field(description="Name of the target, in the policy's namespace.")]
    group: Annotated[
        meta.Group | None, Field(description="API group of the kind; may be left out, kinds are unambiguous.")
    ] = None
    section_name: Annotated[
        meta.SectionName | None,
        Field(description="A listener of a Gateway or ListenerSet, a rule of a route, a port of a Service."),
    ] = None


@meta.shape
class TargetSelector(meta.LabelSelector):
    """Every object of a kind, in the policy's namespace, with these labels. Objects without labels are never
    selected."""

    kind: Annotated[meta.Kind, Field(description="Kind of the targets.")]
    group: Annotated[meta.Group | None, Field(description="API group of the kind; may be left out.")] = None


@meta.shape
class Policy:
    """The fields that all policies have."""

    target_refs: Annotated[
        tuple[TargetRef, ...],
        Field(max_length=16, description="The objects that the policy is for, by name."),
    ] = ()
    target_selectors: Annotated[
        tuple[TargetSelector, ...],
        Field(max_length=16, description="The objects that the policy is for, by label."),
    ] = ()
    mode: Annotated[
        Literal["Merge", "Replace"],
        Field(
            description="`Merge`: what the policy does not say is as less specific policies say. `Replace`:"
            " less specific policies do not count at its targets."
        ),
    ] = "Merge"


@meta.shape
class Section:
    """A part of a policy that can be switched off where a less specific policy has it on."""

    WHOLE: ClassVar[bool] = False

    disabled: Annotated[
        meta.Bool | None,
        Field(description="`true` switches it off, whatever less specific policies say."),
    ] = None


S = TypeVar("S", bound=Section)


def on(section: S | None) -> S | None:
    """The section, unless it is not said or switched off."""
    return section if section is not None and not section.disabled else None
