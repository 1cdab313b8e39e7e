"""Who gets a session: too early, for the wrong goal, for somebody else, or with what was never proved."""

from __future__ import annotations

from dataclasses import replace

from authflow.flow import FlowKind, FlowState
from authflow.sessions import issue
from authflow.user import User


class RememberedTooEarly(User):
    """AB 23, scheb GHSA-9phw-7h96-q3rv: the session is made with the first factor."""

    def authenticate_user(self, flow, account, now, *, before=None, client="", with_static_key=False):
        return issue(now, account=account, proofs=flow.proofs, client=client)


class ResetLogsIn(User):
    """AB 25: whoever resets a password is logged in, without the second factor."""

    def authenticate_user(self, flow, account, now, **more):
        if flow.kind is FlowKind.RECOVER and flow.state is FlowState.COMPLETED:
            flow = replace(flow, kind=FlowKind.LOGIN)
        return super().authenticate_user(flow, account, now, **more)


class AnybodysSession(User):
    """AB 43, authentik CVE-2023-26481: the account comes from the request and not from the flow."""

    def authenticate_user(self, flow, account, now, **more):
        whose = replace(account, id=flow.subject) if flow.subject else account
        issued = super().authenticate_user(flow, whose, now, **more)
        return replace(issued, session=replace(issued.session, account_id=account.id))


class EpochIsIgnored(User):
    """AB 41: what was begun before the password was changed is completed after it."""

    def authenticate_user(self, flow, account, now, **more):
        return super().authenticate_user(replace(flow, epoch=account.epoch), account, now, **more)


class DisabledGetsASession(User):
    """AB 31: nobody asks for the status at the end."""

    def authenticate_user(self, flow, account, now, **more):
        return super().authenticate_user(flow, replace(account, status=10), now, **more)


class ProvedMoreThanThat(User):
    """The session tells of a proof that there was not: what wants a second factor takes it for one."""

    def authenticate_user(self, flow, account, now, **more):
        issued = super().authenticate_user(flow, account, now, **more)
        return replace(issued, session=replace(issued.session, proofs=flow.proofs * 2))


class SameSecret(User):
    """AB 71, session fixation: the secret is made from the account."""

    def authenticate_user(self, flow, account, now, **more):
        issued = super().authenticate_user(flow, account, now, **more)
        return replace(issued, secret=f"secret of {account.id}")


class NobodyLogsIn(User):
    """A check too many: nobody comes in at all."""

    def authenticate_user(self, flow, account, now, **more):
        return super().authenticate_user(replace(flow, proofs=flow.proofs[2:]), account, now, **more)


PLANTED = {
    RememberedTooEarly: "sign-in",
    ResetLogsIn: "never-signs-in",
    AnybodysSession: "session",
    EpochIsIgnored: "epoch",
    DisabledGetsASession: "disabled",
    ProvedMoreThanThat: "session",
    SameSecret: "session",
    NobodyLogsIn: "way-in",
}
