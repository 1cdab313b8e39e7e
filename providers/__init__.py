"""The stock providers: each judges one kind of proof, in one file named like its templates, tests and settings.

To add one:

1. Write `providers/<name>.py` with a subclass of `PrimaryProvider` or `SecondFactorProvider` from `authflow.provider`
   and set `name` and `label`. Path and method name follow from the class name. Take the time, randomness and keys from
   the `ProviderContext` only; import nothing but `authflow.provider`, `.model`, `.fields`, `.errors` and one library of
   your own, inside the function that needs it if it is slow to import.
2. Say in `begin` what to ask for, in `answer` what it is worth, by one of `Ask`, `Verified`, `Rejected`, `Redirect`.
   A missing credential takes the same time and gives the same answer as a wrong submission.
3. Put its pages below `templates/<name>/` and its tests into `tests/providers/test_<name>.py`.
4. Name the class in `User`: by object, by dotted path, or by the entry-point group `authflow.providers`.

`recovery_codes` is a short example, `time_based_otp` one that keeps counters and lets people enrol by themselves. A
provider need not live here: any package will do.
"""
