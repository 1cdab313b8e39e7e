"""Words that people choose, and are asked three letters of: added in two steps and in one. Both are sound."""

from __future__ import annotations

import hmac
import secrets
import string
from dataclasses import replace
from typing import ClassVar

from authflow.certifying.kit import Kit
from authflow.fields import Field, FieldType
from authflow.model import Credential, Factor
from authflow.provider import Ask, Charge, Enrolled, Rejected, SecondFactorProvider, Verified

NAMES = ("first", "second", "third")
WORD = Field("word", FieldType.PASSWORD, "Your word", max_length=40, autocomplete="off")


class WordOwner(Kit):
    """Somebody with a word of twelve letters, all different."""

    def __init__(self, provider):
        super().__init__(provider)
        self.chosen = "".join(secrets.SystemRandom().sample(string.ascii_lowercase, 12))

    async def answer(self, ask, context):
        places = ask.params.get("places", ())
        letters = {name: self.chosen[place] for name, place in zip(NAMES, places, strict=False)}
        asked = {field.name for field in ask.fields}
        return {name: value for name, value in {"word": self.chosen, **letters}.items() if name in asked}

    def secrets(self):
        return (self.chosen,)


class TwoSteps(SecondFactorProvider):
    """First the word, then three of its letters."""

    name, label, factor = "word_by_letters", "Word", Factor.KNOWLEDGE
    chosen_by_person = True
    certification = WordOwner
    messages: ClassVar = {
        "letters_malformed": "Give one letter in each field.",
        "letters_wrong": "These are not the letters of your word.",
        "word_malformed": "Choose a word of ten letters or more.",
        "word_too_simple": "Choose a word of five different letters or more.",
    }

    def begin(self, context):
        return question(context)

    async def answer(self, credential, submission, context):
        letters = letters_of(submission)
        if letters is None:
            return Rejected("letters_malformed", Charge.NOTHING)
        right = fits(letters, credential.secret.decode() if credential else "nobodysword", context)
        if credential is None or not right:
            return Rejected("letters_wrong")
        return Verified(context.prove(self))

    def can_handle(self, credential):
        try:
            return is_word(credential.secret.decode())
        except UnicodeDecodeError:
            return False

    def begin_enrolment(self, context):
        return Ask((WORD,))

    def show_enrolment(self, notes, context):
        return question(context) if "word" in notes else Ask((WORD,))

    async def answer_enrolment(self, submission, context):
        word = submission.notes.get("word")
        if word is None:
            word = submission.get("word").strip().lower()
            return self.refusal(word) or replace(question(context), scratch={"word": word})
        return self.confirmed(word, submission, context)

    def confirmed(self, word, submission, context):
        letters = letters_of(submission)
        if letters is None or not fits(letters, word, context):
            return Rejected("letters_wrong", Charge.FLOW)
        kept = Credential(context.account.id, self.name, context.now, context.now, {}, word.encode())
        return Enrolled(context.prove(self), kept)

    def refusal(self, word):
        if not is_word(word):
            return Rejected("word_malformed", Charge.NOTHING)
        return Rejected("word_too_simple", Charge.NOTHING) if len(set(word)) < 5 else None


class OneStep(TwoSteps):
    """The word and three of its letters in one form."""

    def begin_enrolment(self, context):
        asked = question(context)
        return replace(asked, fields=(WORD, *asked.fields))

    def show_enrolment(self, notes, context):
        return self.begin_enrolment(context)

    async def answer_enrolment(self, submission, context):
        word = submission.get("word").strip().lower()
        return self.refusal(word) or self.confirmed(word, submission, context)


def question(context):
    places = places_of(context.challenge("places"))
    fields = tuple(
        Field(name, FieldType.CODE, f"Letter {place + 1}", max_length=4, autocomplete="off")
        for name, place in zip(NAMES, places, strict=True)
    )
    return Ask(fields, params={"places": list(places)})


def places_of(challenge):
    left, places, number = list(range(10)), [], int.from_bytes(challenge, "big")
    for _ in NAMES:
        number, at = divmod(number, len(left))
        places.append(left.pop(at))
    return tuple(sorted(places))


def is_word(word):
    return 10 <= len(word) <= 40 and word.isalpha() and word.isascii()


def letters_of(submission):
    letters = [submission.get(name).strip().lower() for name in NAMES]
    return letters if all(len(one) == 1 and one.isalpha() for one in letters) else None


def fits(letters, word, context):
    asked = "".join(word[place] for place in places_of(context.challenge("places")))
    return hmac.compare_digest("".join(letters).encode(), asked.encode())
