"""The Dockerfile as data, so that its steps can be run and checked where there is no engine to build it."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: its keyword in capitals and what follows, continuation lines joined."""

    keyword: str
    value: str

    @property
    def words(self) -> list[str]:
        """Return the words of the value; those of the exec form (``["radlabel"]``) are its elements."""
        if self.value.startswith("["):
            parsed: list[str] = json.loads(self.value)
            return parsed
        return shlex.split(self.value)


@dataclass(frozen=True, slots=True)
class Stage:
    """What follows one ``FROM``."""

    image: str
    name: str | None
    instructions: list[Instruction] = field(default_factory=list)

    def values(self, keyword: str) -> list[Instruction]:
        """Return the instructions with that keyword, in order."""
        return [instruction for instruction in self.instructions if instruction.keyword == keyword]

    def environment(self) -> dict[str, str]:
        """Return what ``ENV`` sets."""
        pairs = (word.partition("=") for instruction in self.values("ENV") for word in instruction.words)
        return {name: value for name, _, value in pairs}


def read_dockerfile(path: Path) -> list[Stage]:
    """Return the stages of a Dockerfile; raise `ValueError` where an instruction precedes the first ``FROM``."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    stages: list[Stage] = []
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        if not line.strip():
            continue
        keyword, _, value = line.strip().partition(" ")
        if keyword.upper() == "FROM":
            image, _, name = value.partition(" AS ")
            stages.append(Stage(image.strip(), name.strip() or None))
        elif not stages:
            raise ValueError(f"{path.name}: {keyword} precedes the first FROM")
        else:
            stages[-1].instructions.append(Instruction(keyword.upper(), value.strip()))
    return stages
