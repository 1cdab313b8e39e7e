"""An application that has taken a second factor away."""

from authflow.user import User as Stock


class User(Stock):
    """Passwords alone."""

    second_factor_providers = ()
    valid_authentication_methods = (("user_password", None),)
