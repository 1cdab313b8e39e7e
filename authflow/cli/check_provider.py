"""`authflow check-provider`: whether a provider keeps its contract, whatever is sent to it."""

from __future__ import annotations

from typing import Annotated

import typer

from authflow.cli.common import AsJson, fail, say, say_json


def check_provider(
    provider: Annotated[
        str, typer.Argument(metavar="PACKAGE.MODULE:CLASS", help="The provider's class.", show_default=False)
    ],
    kit: Annotated[
        str,
        typer.Option(
            metavar="PACKAGE.MODULE:CLASS",
            help="Who gives right answers: a subclass of authflow.certifying.kit:Kit. Codes, passwords and"
            " authenticator apps need none.",
            show_default=False,
        ),
    ] = "",
    setting: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="What the provider reads in configure, without AUTHFLOW_ (several).",
            show_default=False,
        ),
    ] = None,
    templates: Annotated[
        str,
        typer.Option(metavar="FOLDER", help="Templates that are searched before ours.", show_default=False),
    ] = "",
    partial: Annotated[
        bool, typer.Option("--partial", help="Exit with 0 also where something could not be shown.")
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="CHECK", help="Make this check alone (several).", show_default=False),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(metavar="NUMBER", help="What an earlier run drew from, to draw it once more.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Try a provider on an application apart, and say what it does right and wrong.

    Nothing of the deployment is touched. Exits with 1 when a check failed, or when one could not be made because nobody
    can give a right answer (see --kit; --partial lets that pass).

    Example: authflow check-provider myapp.factors:Badge --kit tests.people:BadgeHolder --templates templates
    """
    from authflow.certifying.run import certify
    from authflow.errors import ConfigurationError
    from authflow.settings import from_environment

    deployment = from_environment()
    settings = dict(deployment.provider_environment)
    for given in setting or ():
        name, sign, value = given.partition("=")
        if not sign or not name:
            raise ConfigurationError(f"--setting {given}: write NAME=VALUE")
        settings[name.lower().removeprefix("authflow_")] = value
    certificate = certify(
        provider, kit=kit or None, settings=settings, templates=templates or deployment.templates, only=only or (),
        seed=seed,
    )  # fmt: skip
    failed, not_shown = certificate.failed, certificate.not_shown
    if as_json:
        say_json(certificate.to_data())
    else:
        for line in certificate.lines():
            say(line)
        say(f"{certificate.provider}: {certificate.verdict}")
    if failed:
        names = ", ".join(result.name for result in failed)
        raise typer.Exit(fail(f"{certificate.provider} fails: {names} (draw the same by --seed {certificate.seed})", 1))
    if not_shown and not partial:
        raise typer.Exit(fail(f"{len(not_shown)} checks could not be made: name a kit by --kit, or pass --partial", 1))
