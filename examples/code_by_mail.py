"""A second factor of one's own: a code by mail."""

import hmac
from typing import ClassVar

from authflow.fields import Field, FieldType
from authflow.model import Credential, Factor
from authflow.provider import Ask, Delivery, Enrolled, Rejected, SecondFactorProvider, Verified
from authflow.user import User

CODE = Field("otptoken", FieldType.CODE, "Code", help="We have just sent it to your address.", inputmode="numeric")


class CodeByMail(SecondFactorProvider):
    name, label, factor = "code_by_mail", "Code by mail", Factor.MAILBOX
    messages: ClassVar = {"code_wrong": "That is not the code from our last mail."}

    def begin(self, context):  # what to ask for, and the mail that goes out with the question
        return Ask((CODE,), delivery=Delivery("code"))

    async def answer(self, credential, submission, context):  # what the answer is worth
        if credential is None or not self._is_right(submission, context):
            return Rejected("code_wrong")
        return Verified(context.prove(self))

    begin_enrolment = begin  # with these two, people can add the factor by themselves

    async def answer_enrolment(self, submission, context):
        if not self._is_right(submission, context):
            return Rejected("code_wrong")
        return Enrolled(context.prove(self), Credential(context.account.id, self.name, context.now, context.now))

    def _is_right(self, submission, context):
        return hmac.compare_digest(submission.get("otptoken").strip().encode(), context.code().encode())


class MyUser(User):
    second_factor_providers = (*User.second_factor_providers, CodeByMail)
    valid_authentication_methods = (*User.valid_authentication_methods, ("user_password", CodeByMail))
