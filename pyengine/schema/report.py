"""What an install did, and what one would do."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class InstallReport:
    schema: str
    version: int
    created_schema: bool = False
    migrations: list[str] = field(default_factory=list)
    functions_created: list[str] = field(default_factory=list)
    functions_replaced: list[str] = field(default_factory=list)
    functions_dropped: list[str] = field(default_factory=list)
    views: bool = False
    waited: bool = False
    warnings: list[str] = field(default_factory=list)
    # Something was committed, be it only the bookkeeping.
    changed: bool = False

    def lines(self) -> list[str]:
        """For people: one line a fact, warnings last."""
        done: list[str] = []
        if self.created_schema:
            done.append(f"created schema {self.schema!r}")
        done += [f"applied migration {label}" for label in self.migrations]
        for verb, names in (
            ("created", self.functions_created),
            ("replaced", self.functions_replaced),
            ("dropped", self.functions_dropped),
        ):
            if names:
                done.append(f"{verb} {_functions(names)}")
        if self.views:
            done.append("created views")
        if not done:
            done.append(
                f"schema {self.schema!r}: recorded the new release"
                if self.changed
                else f"schema {self.schema!r} is current (version {self.version}): nothing to do"
            )
        return done + [f"warning: {warning}" for warning in self.warnings]

    def __str__(self) -> str:
        return "; ".join(self.lines())


def _functions(names: list[str]) -> str:
    if len(names) > 5:
        return f"{len(names)} functions"
    return f"function{'s' if len(names) > 1 else ''} {', '.join(names)}"


def changed_migration(label: str) -> str:
    return (
        f"migration {label} was applied here with another text than the one shipped now; an applied migration must not "
        f"change: in development run `pyengine reset`, otherwise compare the two versions of the file"
    )
