"""The one place where the two databases differ for the code above."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite


def insert(dialect: str, table: sa.Table) -> Any:
    """Return an INSERT that can say what becomes of conflicts; both databases word it alike, SQLAlchemy apart.

    ``dialect`` is the name that ``connection.dialect.name`` has: by it a statement can be made once and kept.
    """
    return (sqlite if dialect == "sqlite" else postgresql).insert(table)
