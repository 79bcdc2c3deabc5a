"""What a reading depends on besides the report: the rules and the code, as one digest."""

from __future__ import annotations

from hashlib import blake2b
from importlib import resources


def code_digest(*parts: str, packages: tuple[str, ...] = ("models.text",)) -> str:
    """Return a digest of ``parts`` and of the code and data files of packages."""
    lines = list(parts)
    for package in packages:
        root = resources.files(package)
        files = [r for r in root.iterdir() if r.name.endswith(".py")]
        data = root.joinpath("data")
        files += [r for r in data.iterdir() if r.is_file()] if data.is_dir() else []
        lines += [blake2b(r.read_bytes()).hexdigest() for r in sorted(files, key=lambda r: r.name)]
    return blake2b("\n".join(lines).encode(), digest_size=32).hexdigest()
