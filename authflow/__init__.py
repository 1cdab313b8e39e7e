"""A provider-pluggable authentication flow engine.

`authflow.user.User` is what an application subclasses, `authflow.provider` what an own provider is written against,
`authflow.web.app.create_app` makes the ASGI application, `authflow.assembly.build` wires it, `authflow.asgi:app` is all
of it from the environment.
"""

__version__ = "0.1.0"
