"""The error tree: one stable code each, a sentence that is safe to show, and detail for the log.

What a person may get wrong is a value (`provider.Rejected`). What stands here is what the code, the deployment or a
client's request may get wrong. The edge answers an `AuthflowError` with its `status` and shows its `sentence`; `detail`
goes to the log alone. Sentences are gettext message ids.
"""

from __future__ import annotations

from datetime import timedelta


class AuthflowError(Exception):
    """Base of every error of this package.

    Args:
        detail: What the log should hold. Never a secret, a code or a token.
        code: A finer stable code than the class's own.
    """

    code = "error"
    status = 500
    sentence = "Something went wrong."
    retry_after: timedelta | None = None

    def __init__(self, detail: str = "", *, code: str | None = None) -> None:
        super().__init__(detail or self.sentence)
        self.detail = detail
        if code is not None:
            self.code = code


# --- What a request got wrong -----------------------------------------------------------------------------------------


class RequestError(AuthflowError):
    """The request cannot be carried out; nothing was changed."""

    code = "bad_request"
    status = 400
    sentence = "This request could not be understood."


class BadInput(RequestError):
    """A field is missing, malformed, doubled or of the wrong type."""

    code = "bad_input"
    sentence = "Something in this form is missing or malformed."


class NotAuthenticated(RequestError):
    """Nobody is logged in, or the session has ended."""

    code = "not_authenticated"
    status = 401
    sentence = "Please log in first."


class Forbidden(RequestError):
    """The account may not do this."""

    code = "forbidden"
    status = 403
    sentence = "You are not allowed to do this."


class ReauthenticationRequired(Forbidden):
    """The action wants a fresh login (NIST SP 800-63B, section 5.2)."""

    code = "reauthentication_required"
    sentence = "Please log in again to continue: this change needs a fresh login."


class NotFound(RequestError):
    """There is no such page or entry, or the caller may not know of it."""

    code = "not_found"
    status = 404
    sentence = "There is nothing at this address."


class Withheld(NotFound):
    """There is something, and the caller has not the right to know of it: told as if there were nothing."""


class MethodNotAllowed(RequestError):
    """The path exists, for another HTTP method."""

    code = "method_not_allowed"
    status = 405
    sentence = "This address does not take requests of this kind."

    def __init__(self, allowed: tuple[str, ...]) -> None:
        super().__init__("allowed: " + ", ".join(allowed))
        self.allowed = allowed


class NoMethodLeft(RequestError):
    """No authentication method is open to this account (ViUR answers 406 here)."""

    code = "no_method_left"
    status = 406
    sentence = "No way to log in is available for this account. Please contact the people who run this site."


class TooLate(RequestError):
    """The step came after its deadline (ViUR: `secondFactorTimeWindow`)."""

    code = "too_late"
    status = 408
    sentence = "This took too long. Please start again."


class RequestTooSlow(RequestError):
    """The body did not arrive in time."""

    code = "request_too_slow"
    status = 408
    sentence = "This request took too long to arrive. Please try again."


class NameTaken(RequestError):
    """Another account has this name."""

    code = "name_taken"
    status = 409
    sentence = "This name is taken."


class AlreadyEnrolled(RequestError):
    """The account has this factor already; it must be removed before another one takes its place."""

    code = "already_enrolled"
    status = 409
    sentence = "This is set up already. Remove it first to set it up anew."


class LastMethod(RequestError):
    """Without it nothing would be left to log in by."""

    code = "last_method"
    status = 409
    sentence = "Nothing would be left to log in by. Choose a password first."


class VersionConflict(RequestError):
    """The entry was edited by somebody else since it was read."""

    code = "version_conflict"
    status = 409
    sentence = "This entry has been changed in the meantime. Please look at it again."


class SkeyInvalid(RequestError):
    """The anti-forgery token (skey) is missing, forged, of another browser or too old."""

    code = "skey_invalid"
    status = 412
    sentence = "This form is too old. Please send it again."


class FlowInvalid(RequestError):
    """The step does not belong to an open flow of this browser."""

    code = "flow_invalid"
    status = 412
    sentence = "This step is no longer open. Please start again."


class DefinitionChanged(FlowInvalid):
    """The flow was begun under another definition of flows, which this one cannot go on with (see `gates`).

    Args:
        return_to: Where the flow was to lead, for the one that is started in its place.
    """

    code = "definition_changed"
    sentence = "This site was updated while you were logging in. Please start again."

    def __init__(self, detail: str = "", *, return_to: str = "") -> None:
        super().__init__(detail)
        self.return_to = return_to


class PayloadTooLarge(RequestError):
    """The body is larger than any form of ours."""

    code = "payload_too_large"
    status = 413
    sentence = "This request is too large."


class UnsupportedMediaType(RequestError):
    """The body is of a type that no form of ours has."""

    code = "unsupported_media_type"
    status = 415
    sentence = "This kind of content is not accepted here."


class TooManyAttempts(RequestError):
    """A limit is reached; nothing was judged and nothing was written.

    Args:
        retry_after: When a try can succeed again, from now.
    """

    code = "too_many_attempts"
    status = 429
    sentence = "Too many attempts. Please wait a little and try again."

    def __init__(self, retry_after: timedelta, detail: str = "") -> None:
        super().__init__(detail)
        self.retry_after = retry_after


# --- What the deployment could not do just now ------------------------------------------------------------------------


class Unavailable(AuthflowError):
    """A fault behind us. Nobody was let in and nothing is half done."""

    code = "unavailable"
    status = 503
    sentence = "This is not possible right now. Please try again in a moment."
    retry_after = timedelta(seconds=2)


class StoreUnavailable(Unavailable):
    """The store did not answer, answered with a fault, or conflicts did not end."""

    code = "store_unavailable"


class Overloaded(Unavailable):
    """The hashing pool is full (see `passwords.HashingPool`)."""

    code = "overloaded"


class FetchFailed(Unavailable):
    """A remote party that a provider must ask did not answer as it should."""

    code = "fetch_failed"


class FetchRefused(FetchFailed):
    """A remote party has answered that what it was sent is wrong (RFC 6749, section 5.2).

    A fault like another, unless the provider that asked knows from the reason that it was the person's doing.

    Attributes:
        reason: The party's own code for it, such as `invalid_grant`.
    """

    def __init__(self, detail: str, reason: str) -> None:
        super().__init__(detail)
        self.reason = reason


# --- What the code or the settings got wrong --------------------------------------------------------------------------


class StoreConflict(AuthflowError):
    """A guarded commit found a record that is not as it was read. The engine reads again and retries."""

    code = "store_conflict"


class IllegalTransition(AuthflowError):
    """The flow's state has no edge for this event, or the event's proof is not of this flow and step."""

    code = "illegal_transition"


class ContractViolation(AuthflowError):
    """A provider returned what its contract forbids."""

    code = "contract_violation"


class ConfigurationError(AuthflowError):
    """A setting or a declaration is refused. Raised when the app is built, never later."""

    code = "configuration"
