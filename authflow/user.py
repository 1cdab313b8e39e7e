"""`User`: what an application subclasses. Providers, valid methods, access rules and hooks, by class attributes.

ViUR's names in Python's spelling. `User` orchestrates and decides; it holds no state of a request: there is one
instance per application, and what concerns one person is handed in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from authflow import flow as flow_table
from authflow import gates, policy
from authflow.access import CUSTOM, Module
from authflow.errors import (
    ConfigurationError,
    FlowInvalid,
    Forbidden,
    IllegalTransition,
    NotAuthenticated,
    NotFound,
    TooLate,
    Withheld,
)
from authflow.fields import Field, FieldType
from authflow.flow import SESSION_KINDS, Flow, FlowEvent, FlowKind, FlowState, StepCompleted, Transitions, Verdict
from authflow.model import Account, Plain, Proof, Role, Session, Status
from authflow.policy import Standing
from authflow.provider import Provider
from authflow.registry import MethodSpec, ProviderSpec, Registry, provider_name
from authflow.sessions import Current, IssuedSession, Lifetimes, issue
from authflow.skeletons import Skeletons, demand_own_names
from authflow.throttle import Limits

if TYPE_CHECKING:
    from authflow.account_work import Invalid
    from authflow.engine import Engine
    from authflow.loading import Loaded


class User(Skeletons):
    """The user module of an application.

    Attributes:
        authentication_providers, second_factor_providers: Objects, classes, dotted paths or entry-point names.
        valid_authentication_methods: Pairs (primary, second or None), in order. None falls away as soon as the account
            has a usable factor paired with that primary.
        transitions: The table that flows move by, where it is not the stock one.
        trace_share: Which part of all flows leaves a trace, from 0 (none) to 1 (each).
        trace_retention: How long traces are kept.
        second_factor_time_window: From the first proof to the last.
        fresh_login_window: How recent a login must be to change factors or the password.
        session_persistent_fields_on_login, session_persistent_fields_on_logout: Session fields that survive.
        second_factor_required_roles: Roles whose accounts must have a second factor.
        roles: The roles an account can have, each with flags of its own beside those of `modules`.
        access_rights: Flags an account can be given, beside those of `modules`.
        modules: What can be allowed in each module of the application, and to which roles it is.
        profile_fields: Further fields of an account, beyond name and rights.
        limits, lifetimes: Budgets and ages.
        admin_info: What admin tools show of this module.
        vi_dialect: What `/vi` speaks: "3.9", ViUR's envelope of today, or "3.3", its strings of old.
        site_name: Shown on pages and in mails.
    """

    authentication_providers: ClassVar[Sequence[ProviderSpec]] = (
        "providers.user_password:UserPassword",
        "providers.google_account:GoogleAccount",
    )
    second_factor_providers: ClassVar[Sequence[ProviderSpec]] = (
        "providers.time_based_otp:TimeBasedOTP",
        "providers.recovery_codes:RecoveryCodes",
    )
    valid_authentication_methods: ClassVar[Sequence[MethodSpec]] = (
        ("user_password", "time_based_otp"),
        ("user_password", None),
        ("google_account", "time_based_otp"),
        ("google_account", None),
    )
    transitions: ClassVar[Transitions | None] = None
    trace_share: ClassVar[float] = 0.1
    trace_retention: ClassVar[timedelta] = timedelta(days=30)
    second_factor_time_window: ClassVar[timedelta] = timedelta(minutes=10)
    fresh_login_window: ClassVar[timedelta] = timedelta(minutes=10)
    session_persistent_fields_on_login: ClassVar[Sequence[str]] = ("language",)
    session_persistent_fields_on_logout: ClassVar[Sequence[str]] = ("language",)
    second_factor_required_roles: ClassVar[frozenset[str]] = frozenset()
    roles: ClassVar[Sequence[Role]] = (
        Role(CUSTOM, "Custom"),
        Role("user", "User"),
        Role("viewer", "Viewer", ("admin", "user-view")),
        Role("editor", "Editor", ("admin", "user-view", "user-add", "user-edit")),
        Role("admin", "Administrator", ("admin", "user-view", "user-add", "user-edit", "user-delete")),
    )
    access_rights: ClassVar[Sequence[str]] = ("root", "admin", "user-view", "user-add", "user-edit", "user-delete")
    modules: ClassVar[Sequence[Module]] = (Module("user"),)
    profile_fields: ClassVar[tuple[Field, ...]] = (
        Field("firstname", FieldType.TEXT, "First name", required=False, max_length=100, autocomplete="given-name"),
        Field("lastname", FieldType.TEXT, "Last name", required=False, max_length=100, autocomplete="family-name"),
    )
    limits: ClassVar[Limits] = Limits()
    lifetimes: ClassVar[Lifetimes] = Lifetimes()
    login_redirect: ClassVar[str] = "/user/view/self"
    site_name: ClassVar[str] = "authflow"
    admin_info: ClassVar[Mapping[str, Plain]] = {"name": "User", "handler": "list", "icon": "person-fill"}
    vi_dialect: ClassVar[str] = "3.9"

    engine: Engine

    # --- Providers ----------------------------------------------------------------------------------------------------

    def make_registry(self, environment: Mapping[str, str]) -> Registry:
        """Build the registry; called once when the app is built."""
        self.access  # noqa: B018 - made now, so that a bad declaration refuses to start
        demand_own_names(self.profile_fields)
        if not 0 <= self.trace_share <= 1 or self.trace_retention <= timedelta(0):
            raise ConfigurationError("trace_share must be 0 to 1, and trace_retention a span of time")
        methods = self.valid_authentication_methods
        if methods is User.valid_authentication_methods:
            # The stock pairs follow the declared first steps: who leaves Google out need not say so twice.
            declared = {provider_name(spec) for spec in self.authentication_providers}
            methods = [pair for pair in methods if pair[0] in declared]
        return Registry(self.authentication_providers, self.second_factor_providers, methods, environment=environment)

    @property
    def registry(self) -> Registry:
        return self.engine.registry

    def get_auth_methods(self) -> list[tuple[str, str | None]]:
        """Tell tools which methods are open, by method name. ViUR: `getAuthMethods`."""
        providers = self.registry.providers
        return [
            (providers[primary].method_name, providers[second].method_name if second else None)
            for primary, second in self.registry.rules.pairs
            if providers[primary].is_for_tools
        ]

    def second_factor_provider_by_class(self, cls: type[Provider]) -> Provider:
        """Return the instance of a second-factor provider. ViUR: `secondFactorProviderByClass`.

        Raises:
            NotFound: It is not among the offered ones.
        """
        for provider in self.registry.second_factors:
            if type(provider) is cls:
                return provider
        raise NotFound(f"{cls.__name__} is not an offered second factor")

    def login(self) -> tuple[Provider, ...]:
        """Return the primary providers that the login page offers, in order. ViUR: `login`."""
        return self.registry.primaries

    # --- The flow -----------------------------------------------------------------------------------------------------

    def standing(self, flow: Flow, loaded: Loaded) -> Standing | None:
        """Return the facts that policy judges the subject of a flow by; None while nobody is known."""
        account = loaded.account
        if account is None:
            return None
        return loaded.standing(
            self.registry.providers,
            is_active=self.is_active(account),
            demands_second_factor=self.demands_second_factor(account, flow),
        )

    def definition(self, flow: Flow, standing: Standing | None = None) -> gates.Definition:
        """Say how the definition in force sees a flow that was begun under another one."""
        rules = self.registry.rules
        return gates.Definition(
            self.remaining_steps(flow.kind, flow.proofs, standing),
            # A first step is proved by a flow that travels: once a flow is stored, nothing takes such a proof.
            rules.second_factors if flow.proofs else tuple(self.registry.providers),
            rules.enrollable,
            self.second_factor_time_window,
        )

    def remaining_steps(self, kind: FlowKind, proofs: Sequence[Proof], standing: Standing | None) -> Verdict:
        """Say which steps a flow still owes: the one place where that is asked. Pure.

        Override it to demand more than `policy.remaining_steps` does; `authflow flows check` finds what demands less.

        Args:
            proofs: What has been proved in this flow, in order.
            standing: Facts of the subject, or None while it is unknown.
        """
        return policy.remaining_steps(kind, proofs, self.registry.rules, standing)

    def advance(self, flow: Flow, event: FlowEvent) -> Flow:
        """Move a flow along one edge of `transitions`: the one place where flows of this application move. Pure.

        Raises:
            IllegalTransition: There is no such edge, or the proof is not of this flow, subject or step.
        """
        return flow_table.advance(flow, event, self.transitions)

    def continue_authentication_flow(self, flow: Flow, proof: Proof, loaded: Loaded) -> Flow:
        """Count a proof and work out what is still owed. ViUR: `continueAuthenticationFlow`.

        Args:
            flow: As it was before the proof.
            proof: Minted by the provider for this flow, subject and step.
            loaded: The subject's live records.

        Returns:
            The flow after it: asking, choosing, refused or completed.

        Raises:
            IllegalTransition: The proof is not of this flow, subject or step.
        """
        account = loaded.account
        if account is None or proof.subject != account.id:
            raise IllegalTransition("a proof about nobody, or about another account than was read")
        verdict = self.owed_after(flow, proof, self.standing(flow, loaded))
        return self.advance(flow, StepCompleted(proof, account.epoch, verdict))

    def owed_after(self, flow: Flow, proof: Proof, standing: Standing | None) -> Verdict:
        """Say what a flow owes once a proof is counted, whichever definitions have moved it. Pure."""
        return gates.owed_by_both(flow, self.remaining_steps(flow.kind, (*flow.proofs, proof), standing))

    def second_factor_succeeded(self, flow: Flow, proof: Proof, loaded: Loaded, now: datetime) -> Flow:
        """Count a second factor's proof. ViUR: `secondFactorSucceeded`.

        Raises:
            Forbidden: It is about another account than the one that opened the flow.
            TooLate: The time window has passed.
        """
        if proof.subject != flow.subject:
            raise Forbidden("second factor of another account")
        if now >= flow.deadline_at:
            raise TooLate()
        return self.continue_authentication_flow(flow, proof, loaded)

    def authenticate_user(
        self, flow: Flow, account: Account, now: datetime, *, before: Session | None = None, client: str = "",
        with_static_key: bool = False,
    ) -> IssuedSession:  # fmt: skip
        """Make the session of a completed flow. ViUR: `authenticateUser`.

        Args:
            before: The browser's session so far; its persistent fields are carried over, everything else ends.

        Raises:
            IllegalTransition: A step is still owed, or this kind of flow never logs in.
            FlowInvalid: The account is not active, or not the flow's subject any more.
        """
        if flow.state is not FlowState.COMPLETED or flow.owed or flow.kind not in SESSION_KINDS or not flow.proofs:
            raise IllegalTransition(f"a {flow.kind} flow that is {flow.state} does not log in")
        # The epoch may have risen by one: in the very commit that enrols the last owed factor.
        is_same = account.id == flow.subject and account.epoch in (flow.epoch, flow.epoch + 1)
        if not is_same or not self.is_active(account):
            raise FlowInvalid("the subject has changed")
        kept = self._kept(before, self.session_persistent_fields_on_login)
        return issue(
            now, account=account, proofs=flow.proofs, fields=kept, client=client, with_static_key=with_static_key
        )

    def session_after_logout(self, before: Session, now: datetime) -> IssuedSession | None:
        """Make the session that carries what survives a log-out, or None when nothing does."""
        kept = self._kept(before, self.session_persistent_fields_on_logout)
        return issue(now, fields=kept) if kept else None

    def _kept(self, before: Session | None, names: Sequence[str]) -> dict[str, Plain]:
        return {name: before.fields[name] for name in names if name in before.fields} if before else {}

    # --- Hooks --------------------------------------------------------------------------------------------------------

    async def on_login(self, flow: Flow, account: Account) -> None:
        """Do something after a login is committed. Its failure does not undo the login. ViUR: `onLogin`."""

    async def on_logout(self, account: Account) -> None:
        """Do something after a log-out is committed. ViUR: `onLogout`."""

    async def on_added(self, account: Account) -> None:
        """Do something after an account was made by registration or by an admin. ViUR: `onAdded`."""

    async def on_edited(self, account: Account) -> None:
        """Do something after an account was changed. ViUR: `onEdited`."""

    async def on_deleted(self, account: Account) -> None:
        """Do something after an account is gone. Its sessions have ended with it. ViUR: `onDeleted`."""

    def demands_second_factor(self, account: Account, flow: Flow) -> bool:
        """Whether policy demands a second factor of this account for this flow."""
        return not self.second_factor_required_roles.isdisjoint(account.roles)

    # --- Rights: see also `access.Rights` -----------------------------------------------------------------------------

    def is_active(self, account: Account) -> bool:
        """Whether an account may log in and keep its sessions."""
        return account.status >= Status.ACTIVE

    # --- Requests -----------------------------------------------------------------------------------------------------

    async def get_current_user(self, request: Any) -> Account | None:
        """Return who is logged in. ViUR: `getCurrentUser`.

        Args:
            request: A Starlette request, or anything with a `scope`, that came through the middleware.

        Raises:
            StoreUnavailable: The store did not answer; never answered by None.
        """
        current = await self.get_current(request)
        return None if current is None else current.account

    async def get_current(self, request: Any) -> Current | None:
        """Return session and account of a request, read once per request."""
        found: Current | None = await request.scope["authflow"].current()
        return found

    async def logout(self, current: Current) -> IssuedSession | None:
        """End a session. ViUR: `logout`.

        Returns:
            The anonymous session that carries `session_persistent_fields_on_logout`, or None when there is nothing.
        """
        return await self.engine.log_out(current)

    async def edit(self, current: Current, values: Mapping[str, str], version: int | None = None) -> Account | Invalid:
        """Edit the own entry within `edit_skel`. ViUR: `edit`.

        Raises:
            VersionConflict: It was changed since `version` was read.
        """
        from authflow.accounts import Accounts

        return await Accounts(self.engine).edit(current, values, version)

    async def create_new_user_if_not_exists(self) -> str | None:
        """Make the first admin in a store that never had an account. ViUR: `createNewUserIfNotExists`.

        Returns:
            The single-use link by which the admin sets the password, for the process that won; else None.
        """
        from authflow.administration import Administration

        return await Administration(self.engine).create_new_user_if_not_exists()

    async def view(self, viewer: Account | None, key: str) -> Account:
        """Return an entry; `self` is the viewer's own. ViUR: `view`.

        Raises:
            NotAuthenticated: Nobody is logged in.
            NotFound: There is no such entry, or the viewer may not see it: both look the same.
        """
        if viewer is None:
            raise NotAuthenticated()
        if key in ("self", viewer.id):
            return viewer
        account = await self.engine.account_by_id(key)
        if account is None:
            raise NotFound()
        if not self.can_view(viewer, account):
            raise Withheld()
        return account


def with_rights(account: Account, *, status: int | None = None, access: Sequence[str] | None = None) -> Account:
    """Return a copy with another status or other flags, its epoch raised so that what was issued before ends."""
    return replace(
        account,
        status=account.status if status is None else status,
        access=account.access if access is None else tuple(access),
        epoch=account.epoch + 1,
        version=account.version + 1,
    )
