"""What a running service is told: by `radlabel serve`'s options, or by variables named ``RADLABEL_...``."""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path
from typing import Annotated, Self

import platformdirs
from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from corpora.errors import RadlabelError
from nlp_service.readers import DEFAULT_READER, Device, ReaderKind

MEGABYTE = 2**20
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


class SettingsInvalid(RadlabelError, ValueError):
    """A setting has a value that it cannot have; the message names the setting."""


class ServiceSettings(BaseSettings):
    """Everything that can be set. A value given to the constructor wins over the environment variable of its name.

    >>> ServiceSettings(port=9000).needs_keys, ServiceSettings(host="0.0.0.0").needs_keys
    (False, True)
    """

    model_config = SettingsConfigDict(env_prefix="RADLABEL_", extra="ignore", frozen=True, hide_input_in_errors=True)

    # Where it listens
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    mllp_port: Annotated[int | None, Field(ge=0, le=65535)] = None
    mllp_senders: Annotated[tuple[str, ...], NoDecode] = ()
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()

    # Who may call
    require_keys: bool | None = None

    # Where things are kept, and for how long
    data_dir: Path = Field(default_factory=lambda: platformdirs.user_data_path("radlabel"))
    database_url: SecretStr | None = None
    keep_texts_days: Annotated[int, Field(ge=0)] = 0
    job_roots: Annotated[tuple[Path, ...], NoDecode] = ()

    # What reads the reports
    label_sets: Annotated[tuple[str, ...], NoDecode] = ("chexpert14",)
    vocabulary: Annotated[tuple[Path, ...], NoDecode] = ()
    reader: ReaderKind = DEFAULT_READER
    model: Path | None = None
    threads: Annotated[int | None, Field(ge=1)] = None
    cache_size: Annotated[int, Field(ge=0)] = 8192
    cache_file: Path | None = None
    device: Device = Device.AUTO

    # Limits
    max_body_bytes: Annotated[int, Field(ge=1024)] = 32 * MEGABYTE
    max_upload_bytes: Annotated[int, Field(ge=1024)] = 1024 * MEGABYTE
    max_unpacked_bytes: Annotated[int, Field(ge=1024)] = 8 * 1024 * MEGABYTE
    max_json_depth: Annotated[int, Field(ge=4)] = 32
    max_reports: Annotated[int, Field(ge=1)] = 1000
    max_report_characters: Annotated[int, Field(ge=1)] = 1_000_000
    max_waiting_reports: Annotated[int, Field(ge=1)] = 4096
    request_timeout_s: Annotated[float, Field(gt=0)] = 60.0
    shutdown_timeout_s: Annotated[float, Field(gt=0)] = 30.0

    # Jobs
    job_workers: Annotated[int, Field(ge=0)] = 1
    executor: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = Field(
        default_factory=lambda: f"{socket.gethostname()}-serve"[-64:]
    )

    @classmethod
    def load(cls, **given: object) -> ServiceSettings:
        """Return the settings; what is ``None`` counts as not given.

        Raises:
            SettingsInvalid: a value cannot be; the message names it, by its variable too.
        """
        if given.get("reader") is None and "RADLABEL_READER" not in os.environ:
            given["reader"] = os.environ.get("RADLABEL_ENGINE")  # its name before engines were places of work
        try:
            return cls(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False, include_context=False)[0]
            name = str(first["loc"][0]) if first["loc"] else ""
            where = f"{name} (RADLABEL_{name.upper()}): " if name else ""
            raise SettingsInvalid(f"{where}{first['msg']}") from None

    @model_validator(mode="before")
    @classmethod
    def _split_lists(cls, values: dict[str, object]) -> dict[str, object]:
        """Take a list from the environment as words with commas between."""
        for name in ("allowed_hosts", "job_roots", "label_sets", "mllp_senders", "vocabulary"):
            value = values.get(name)
            if isinstance(value, str):
                values[name] = tuple(part.strip() for part in value.split(",") if part.strip())
        return values

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("a certificate and its key belong together: give tls_certificate and tls_key")
        if not self.label_sets:
            raise ValueError("label_sets names no label set")
        for network in self.mllp_senders:
            try:
                ipaddress.ip_network(network)
            except ValueError:
                raise ValueError("mllp_senders must be networks or addresses, such as 10.1.2.0/24") from None
        if self.mllp_port is not None and not self.is_loopback and not self.mllp_senders:
            raise ValueError(
                "MLLP knows no keys: mllp_senders must name the networks that may send, beyond this machine"
            )
        return self

    @property
    def is_loopback(self) -> bool:
        """Tell whether only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def needs_keys(self) -> bool:
        """Tell whether a request needs an API key: unless only this machine can connect, or the setting says so."""
        return not self.is_loopback if self.require_keys is None else self.require_keys

    @property
    def hosts(self) -> tuple[str, ...] | None:
        """Return the host names that requests may use, or ``None`` for any.

        A service without keys answers to names of this machine alone: a page elsewhere that has its own name resolve
        to this machine (DNS rebinding) cannot read reports through the user's browser.
        """
        if self.allowed_hosts:
            return self.allowed_hosts
        return _LOOPBACK_NAMES if self.is_loopback else None

    @property
    def store_url(self) -> str:
        """Return the URL of the database; it can hold a password: it goes into no message."""
        if self.database_url is not None:
            return _with_driver(self.database_url.get_secret_value())
        return f"sqlite:///{self.data_dir / 'radlabel.db'}"

    @property
    def jobs_url(self) -> str:
        """Return the URL of the database in which the engine of the jobs keeps its own tables."""
        if self.store_url.startswith("sqlite"):
            return f"sqlite:///{self.data_dir / 'jobs.db'}"
        return self.store_url


def _with_driver(url: str) -> str:
    """Return a URL with the driver that comes with radlabel."""
    for prefix in ("postgresql://", "postgres://"):
        if url.startswith(prefix):
            return f"postgresql+psycopg://{url.removeprefix(prefix)}"
    return url
