"""Deployment settings: read once from the environment into one frozen object. The only reader of `os.environ`.

Behaviour is not here: that is class attributes of `User` and of the providers. `docs/settings.md` lists every variable.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from authflow.errors import ConfigurationError

PREFIX = "AUTHFLOW_"
STOCK_USER = "authflow.user:User"
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]*[a-z0-9])?|\[[0-9a-f:.]+\]", re.ASCII)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_PROJECT = r"(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{4,61}[a-z0-9]"
_CLOUD_TASKS = re.compile(
    rf"cloudtasks:(?P<project>{_PROJECT})/(?P<location>[a-z]+-[a-z0-9-]+)/(?P<queue>[A-Za-z0-9-]{{1,100}})"
    r"(?:\?service_account=(?P<account>[a-z0-9][a-z0-9-]*@[a-z0-9.-]+))?",
    re.ASCII,
)
_CLOUD_TASKS_FORM = f"{PREFIX}TASKS must be local: or cloudtasks:PROJECT/LOCATION/QUEUE[?service_account=EMAIL]"
_DATASTORE = re.compile(rf"datastore:(?:{_PROJECT})?(?:/[A-Za-z0-9._-]{{1,100}})?", re.ASCII)
_HOST_PORT = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9a-f:]+\]):[0-9]{1,5}", re.ASCII)
_NOT_FOR_PROVIDERS = frozenset({"secret_keys", "mail"})
"""Settings with secrets of ours, which are none of a provider's business."""


@dataclass(frozen=True, slots=True)
class CloudTasksSetting:
    """Where deferred work is queued.

    Attributes:
        service_account: Whose identity token comes with a task that is sent to `AUTHFLOW_BASE_URL`. Empty on App
            Engine, which delivers to the application itself and says so in a header that nobody outside can send.
    """

    project: str
    location: str
    queue: str
    service_account: str = ""

    @property
    def path(self) -> str:
        """The queue's full name."""
        return f"projects/{self.project}/locations/{self.location}/queues/{self.queue}"


@dataclass(frozen=True, slots=True)
class Settings:
    """See `docs/settings.md`; the names are those of the variables without `AUTHFLOW_`."""

    store: str = "sqlite:authflow.db"
    tasks: str = "local:"
    mail: str = field(default="console:", repr=False)
    mail_from: str = ""
    secret_keys: tuple[str, ...] = field(default=(), repr=False)
    base_url: str = "http://127.0.0.1:8000"
    user: str = STOCK_USER
    templates: str = ""
    bcrypt_rounds: int = 12
    trusted_proxies: int = 0
    admin: str = "admin@localhost"
    workers: int = 1
    on_app_engine: bool = False
    on_cloud_run: bool = False
    google_cloud_project: str = ""
    app_engine_service: str = ""
    datastore_emulator: str = ""
    tasks_emulator: str = ""
    testing: bool = False
    provider_environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def is_secure(self) -> bool:
        """Whether people reach us by https: decides the form of the cookies."""
        return self.base_url.lower().startswith("https://")

    @property
    def is_hosted(self) -> bool:
        """Whether a platform runs us, and nobody reads what is printed but those who may read its logs."""
        return self.on_app_engine or self.on_cloud_run

    @property
    def host(self) -> str:
        return urlsplit(self.base_url).netloc

    @property
    def datastore(self) -> tuple[str, str]:
        """Project and namespace of `datastore:[PROJECT][/NAMESPACE]`; without a project, the deployment's own."""
        project, _, namespace = self.store.removeprefix("datastore:").partition("/")
        return project or self.google_cloud_project, namespace

    @property
    def cloud_tasks(self) -> CloudTasksSetting:
        """The parts of `cloudtasks:PROJECT/LOCATION/QUEUE[?service_account=EMAIL]`."""
        found = _CLOUD_TASKS.fullmatch(self.tasks)
        if found is None:
            raise ConfigurationError(_CLOUD_TASKS_FORM)
        return CloudTasksSetting(found["project"], found["location"], found["queue"], found["account"] or "")


def from_environment(environ: Mapping[str, str] | None = None, *, base_url: str | None = None) -> Settings:
    """Read and check the settings.

    Args:
        environ: Instead of the process's own environment.
        base_url: What `serve` listens on; `AUTHFLOW_BASE_URL` wins over it.

    Raises:
        ConfigurationError: A value is refused. The message names the variable and never shows a secret value.
    """
    env = os.environ if environ is None else environ
    defaults = Settings()

    def text(name: str, default: str) -> str:
        return env.get(PREFIX + name, "").strip() or default

    settings = Settings(
        store=text("STORE", defaults.store),
        tasks=text("TASKS", defaults.tasks),
        mail=text("MAIL", defaults.mail),
        mail_from=text("MAIL_FROM", ""),
        secret_keys=_keys(text("SECRET_KEYS", "")),
        base_url=_origin(text("BASE_URL", base_url or defaults.base_url)),
        user=text("USER", STOCK_USER),
        templates=text("TEMPLATES", ""),
        bcrypt_rounds=_whole(env, "BCRYPT_ROUNDS", defaults.bcrypt_rounds, 4, 16),
        trusted_proxies=_whole(env, "TRUSTED_PROXIES", 0, 0, 16),
        admin=text("ADMIN", defaults.admin),
        workers=_whole(env, "WORKERS", 1, 1, 256),
        testing=_whole(env, "TESTING", 0, 0, 1) == 1,
        on_app_engine=env.get("GAE_ENV", "") == "standard",
        on_cloud_run=bool(env.get("K_SERVICE", "").strip()),
        google_cloud_project=env.get("GOOGLE_CLOUD_PROJECT", "").strip(),
        app_engine_service=env.get("GAE_SERVICE", "").strip(),
        datastore_emulator=env.get("DATASTORE_EMULATOR_HOST", "").strip(),
        tasks_emulator=env.get("CLOUD_TASKS_EMULATOR_HOST", "").strip(),
        provider_environment={
            short: value
            for name, value in env.items()
            if name.startswith(PREFIX) and (short := name.removeprefix(PREFIX).lower()) not in _NOT_FOR_PROVIDERS
        },
    )
    _check(settings)
    return settings


def why_not_testing(*, is_under_test: bool, environ: Mapping[str, str] | None = None) -> str:
    """Say why the test kit (`authflow.testing`) has no business in this process, or return the empty text.

    Args:
        is_under_test: Whether a test runner is at work here; else `AUTHFLOW_TESTING=1` must say that this is a test.
        environ: Instead of the process's own environment.
    """
    env = os.environ if environ is None else environ
    for name in ("GAE_ENV", "K_SERVICE"):
        if env.get(name, "").strip():
            return f"{name} is set: this process is deployed"
    if env.get(PREFIX + "BASE_URL", "").strip().lower().startswith("https:"):
        return f"{PREFIX}BASE_URL is an https origin: this process serves people"
    if not is_under_test and env.get(PREFIX + "TESTING", "").strip() != "1":
        return f"neither pytest nor unittest runs here; set {PREFIX}TESTING=1 if this is a test all the same"
    return ""


def _whole(env: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    raw = env.get(PREFIX + name, "").strip()
    if not raw:
        return default
    # By length first: `int` raises on very long numbers.
    if not (raw.isascii() and raw.isdigit() and len(raw) <= 9 and low <= int(raw) <= high):
        raise ConfigurationError(f"{PREFIX}{name} must be a whole number from {low} to {high}")
    return int(raw)


def _keys(text: str) -> tuple[str, ...]:
    keys = tuple(key.strip() for key in text.split(",") if key.strip())
    if text and not keys:
        raise ConfigurationError(f"{PREFIX}SECRET_KEYS holds no key")
    return keys


def _check(settings: Settings) -> None:
    scheme, _, rest = settings.store.partition(":")
    if scheme not in {"sqlite", "memory", "datastore"} or (scheme == "sqlite" and not rest):
        raise ConfigurationError(f"{PREFIX}STORE must be sqlite:PATH, memory: or datastore:[PROJECT][/NAMESPACE]")
    if scheme == "datastore":
        if not _DATASTORE.fullmatch(settings.store):
            raise ConfigurationError(f"{PREFIX}STORE must be datastore:[PROJECT][/NAMESPACE]")
        if not settings.datastore[0]:
            raise ConfigurationError(f"{PREFIX}STORE: name the project, datastore:PROJECT, or set GOOGLE_CLOUD_PROJECT")
    if scheme == "memory" and settings.workers > 1:
        raise ConfigurationError(f"{PREFIX}STORE: memory: cannot be shared by {settings.workers} workers")
    if settings.tasks != "local:":
        queue = settings.cloud_tasks
        if not settings.on_app_engine and not queue.service_account:
            raise ConfigurationError(
                f"{PREFIX}TASKS: outside App Engine a task proves its origin by a service account; add "
                "?service_account=EMAIL"
            )
    if not settings.mail.startswith(("console:", "file:", "smtp://", "smtps://", "secretmanager:")):
        raise ConfigurationError(
            f"{PREFIX}MAIL must be console:, file:DIR, smtp://..., smtps://... or secretmanager:NAME of such an address"
        )
    if settings.mail.startswith("console:") and not is_loopback(settings.base_url):
        raise ConfigurationError(f"{PREFIX}MAIL: console: is for a loopback {PREFIX}BASE_URL only")
    for key in settings.secret_keys:
        if len(key) < 32 and not key.startswith("secretmanager:"):
            raise ConfigurationError(f"{PREFIX}SECRET_KEYS: each key must have at least 32 characters")
    if settings.testing and (settings.is_hosted or settings.is_secure):
        raise ConfigurationError(f"{PREFIX}TESTING must not be set where people are served")
    if settings.on_app_engine:
        for name, host in (
            ("DATASTORE_EMULATOR_HOST", settings.datastore_emulator),
            ("CLOUD_TASKS_EMULATOR_HOST", settings.tasks_emulator),
        ):
            if host and not (_HOST_PORT.fullmatch(host) and is_loopback(f"http://{host}")):
                raise ConfigurationError(f"{name} must not be set on App Engine")
        if not settings.is_secure:
            raise ConfigurationError(f"{PREFIX}BASE_URL must be the https origin that people reach on App Engine")
        for name, value, unsafe in (
            ("STORE", settings.store, ("sqlite:", "memory:")),
            ("TASKS", settings.tasks, ("local:",)),
            ("MAIL", settings.mail, ("console:", "file:")),
        ):
            if value.startswith(unsafe):
                raise ConfigurationError(f"{PREFIX}{name}: {value.partition(':')[0]}: is refused on App Engine")


def is_loopback(base_url: str) -> bool:
    """Whether an origin is reachable from this machine alone."""
    return (urlsplit(base_url).hostname or "") in _LOOPBACK


def _origin(base_url: str) -> str:
    """Return an origin as browsers write it (RFC 6454, section 6.1): lower case, without the scheme's own port."""
    try:
        parts = urlsplit(base_url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ConfigurationError(f"{PREFIX}BASE_URL is not an address") from error
    if "@" in parts.netloc:
        raise ConfigurationError(f"{PREFIX}BASE_URL must not hold a user or password")
    host = f"[{host}]" if ":" in host else host
    if parts.scheme not in _DEFAULT_PORTS or not _HOST.fullmatch(host):
        raise ConfigurationError(f"{PREFIX}BASE_URL must be an origin such as https://login.example.org")
    ending = "" if port is None else f":{port}"
    # What was written must be the origin and nothing else: the parser drops line breaks and lone marks in silence.
    if base_url.lower().rstrip("/") != f"{parts.scheme}://{host}{ending}":
        raise ConfigurationError(f"{PREFIX}BASE_URL must be an origin such as https://login.example.org")
    if parts.scheme == "http" and not is_loopback(base_url):
        raise ConfigurationError(f"{PREFIX}BASE_URL: http is for loopback addresses only; use https")
    return f"{parts.scheme}://{host}" + ("" if port == _DEFAULT_PORTS[parts.scheme] else ending)
