"""What must hold of every flow, whatever the configuration: the sentences that a proof is about."""

from __future__ import annotations

from collections.abc import Mapping

INVARIANTS: Mapping[str, str] = {
    # What a completed flow rests on.
    "evidence": "A flow completes only with each proof that is demanded, in their order.",
    "binding": "A proof counts only in the flow, for the subject and at the step that it was minted for, and once.",
    "acceptance": "A proof counts only if its provider is one of the open step's.",
    "growth": "A completed step adds the proof that was handed in, and changes nothing else of what was proved.",
    "only-proofs": "Nothing but a proof changes what is owed, what is proved, the step, the subject or its epoch.",
    "goal": "A flow owes its whole goal at the start, and again whenever somebody starts anew.",
    "own-steps": "A step of a ticket or of consent is done by that alone, and they do no other step.",
    # What is asked for.
    "demanded": "Every factor that the account has, or its role demands, is asked for before a login completes.",
    "orphan": "An enrolled factor that cannot be asked for refuses; it is never skipped.",
    "substitute": "A substitute is never offered first, never demanded, and taken only where the account has it.",
    "choice": "Of several usable factors the person chooses; a single one is asked for at once.",
    "enrolment": "Only a factor that people can enrol by themselves, and that the account has not, is to be enrolled.",
    "answerable": "Whoever is asked can answer: each offered provider is there, and the person has what it asks for.",
    # That people get where they may.
    "way-in": "Whoever gives what is demanded gets in.",
    "no-dead-end": "From every open state honest answers lead to an end.",
    "endings": "Every open flow can be cancelled, refused and closed by its deadline.",
    "moves": "Choosing, asking on, going away and a rejection lead where the table says and nowhere else.",
    "declared": "What is declared lets people in, and gives them time.",
    "table": "The table has a row for each state, an end to each flow, and lets no event do more than it means.",
    # When nothing may move.
    "final": "What has ended stays ended.",
    "deadline": "A flow has a deadline, which moves later at the first proof only and then by the window at most.",
    "late": "At the deadline and after it nothing moves.",
    "disabled": "An account that is not active, or is gone, completes nothing and gets no session.",
    "epoch": "A changed account ends every flow that was pending for it.",
    "definition": "A flow goes on only under the definition that it was begun under.",
    "rejections": "After so many rejections a flow ends, and nothing but a completed step starts the count anew.",
    # Sessions.
    "sign-in": "No session is made before nothing is owed.",
    "never-signs-in": "Recovery, verification, set-up, registration, enrolment and settings never sign in.",
    "session": "A session tells what was proved, of whom and when; it is new, and carries over nothing else.",
    "level": "A mailbox never counts; the second level needs two kinds of evidence, one of them an own factor.",
    # What a flow is.
    "identity": "Id, kind, beginning, way back and definition of a flow never change.",
    "notes": "Private notes are in no trace, no text and no plain data, and end with their step and their flow.",
    "trace": "The trace tells of each event, and is bounded.",
    "written": "A flow that is written and read again is the same flow.",
    "pure": "The same question has the same answer, and asking changes nothing.",
    "answered": "Hooks and policy answer or refuse; they raise nothing else.",
    # Providers.
    "begins": "A provider says what to ask wherever its form can be opened, always the same, and asks no store.",
    "judges": "A provider verifies no empty and no senseless submission, and breaks at none.",
    "own-proof": "What a provider verifies, it proves of the account, flow and step at hand, in its own name.",
    "single-use": "What was accepted once is not accepted with the credential that it left behind.",
    "handles": "A provider can handle the credential that it has made, and says no to one that is none.",
}  # fmt: skip
"""By stable id."""
