"""Who the shop's people are: what authflow asks them for, what they may do, and what happens when they log in."""

from __future__ import annotations

import logging
from typing import ClassVar

from authflow.fields import Field, FieldType
from authflow.flow import Flow
from authflow.model import Account, Role
from authflow.user import User
from providers.user_password import UserPassword
from shop.ssh_key import SshKey

log = logging.getLogger("shop")

GENRES = (("crime", "Crime"), ("poetry", "Poetry"), ("travel", "Travel"))
ORDERS = "orders-view"


class Password(UserPassword):
    """Anybody may become a customer by confirming an address; nobody of the shop has to agree."""

    registration_enabled = True
    registration_admin_verification_required = False


class ShopUser(User):
    """Customers, and staff who need a second factor."""

    site_name = "The Corner Bookshop"
    login_redirect = "/shelf"

    authentication_providers = (Password,)
    second_factor_providers = (*User.second_factor_providers, SshKey)
    valid_authentication_methods = (
        ("user_password", SshKey),
        ("user_password", "time_based_otp"),
        ("user_password", None),
    )
    second_factor_required_roles = frozenset({"staff"})

    roles = (*User.roles, Role("staff", "Staff", (ORDERS,)))
    access_rights = (*User.access_rights, ORDERS)
    profile_fields: ClassVar[tuple[Field, ...]] = (
        *User.profile_fields,
        Field("genre", FieldType.SELECT, "Favourite genre", required=False, options=GENRES),
    )

    async def on_login(self, flow: Flow, account: Account) -> None:
        """Called after a login is committed. An id, never a name: logs are read by many."""
        log.info("welcome back %s", account.id)

    def may_see_orders(self, account: Account) -> bool:
        return not self.access_of(account).isdisjoint({"root", ORDERS})
