"""The sentence for every stable reason code. Sentences are gettext message ids; the edge translates them."""

from __future__ import annotations

from collections.abc import Mapping

SENTENCES: Mapping[str, str] = {
    "invalid_credentials": "That did not match. Please check what you typed and try again.",
    "account_inactive": "That did not match. Please check what you typed and try again.",
    "code_wrong": "That code is not right. Please enter the code that is shown now.",
    "code_malformed": "Please enter the code as it is shown, without anything else.",
    "code_replayed": "This code was already used. Please wait for the next one.",
    "code_resync_needed": "Almost. Please wait for the next code and enter that one too.",
    "factor_unavailable": "Your second factor cannot be checked here at the moment. Please contact the people who run"
    " this site.",
    "no_method_left": "No way to log in is available for this account. Please contact the people who run this site.",
    "too_many_rejections": "Too many attempts. Please start again.",
    "identity_unknown": "This account is not connected to an account here. If you have one here, log in to it another"
    " way first; then connect the two on your account's page.",
    "identity_address_taken": "There is an account with your address already. Log in to it another way first; then"
    " connect the two on your account's page.",
    "identity_taken": "This one is connected to another account here already. Choose another one, or disconnect it"
    " there first.",
    "ticket_invalid": "This link or code is not valid any more. Please ask for a new one.",
    "name_taken": "This name is taken.",
    "name_malformed": "Please enter a valid e-mail address.",
    "password_wrong": "Your current password is not right.",
    "password_too_short": "Please choose at least 8 characters. Several words in a row are easy to remember.",
    "password_too_long": "This password is too long: please stay below 1,024 bytes.",
    "password_malformed": "This password holds characters that cannot be stored.",
    "password_common": "This password is on lists that attackers try first. Please choose another one.",
    "password_is_name": "Please do not use your name or address as the password.",
    "passwords_differ": "The two entries are not the same.",
    "captcha_failed": "Please solve the task once more.",
    "field_empty": "Please fill in this field.",
    "field_too_long": "This is too long.",
    "field_too_short": "This is too short.",
    "field_malformed": "This holds characters that are not accepted here.",
    "field_not_an_option": "Please choose one of the options.",
}


def sentence(code: str, own: Mapping[str, str] | None = None) -> str:
    """Return the sentence of a reason code; an unknown one gets the general sentence, never the bare code."""
    return (own or {}).get(code) or SENTENCES.get(code) or SENTENCES["invalid_credentials"]
