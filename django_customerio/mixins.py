"""CustomerIOMixin: a model whose rows are people, and the verbs on its instances."""

from __future__ import annotations

from inspect import getattr_static
from typing import TYPE_CHECKING, Any

from django.apps import apps as installed_apps
from django.apps.registry import Apps
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, models, router, transaction

from .accessors import AccessorDescriptor, PersonAccessor
from .mapping import Registry, inner_class, registry

_SAVE_ARGUMENTS = ("force_insert", "force_update", "using", "update_fields")


class CustomerIOMixin(models.Model):  # noqa: DJ008  it is abstract
    """Tells Customer.io of the rows of a model, by its inner ``class CustomerIO``.

    Put it first among the bases::

        class Customer(CustomerIOMixin, AbstractUser):
            class CustomerIO:
                id = "uuid"
                attributes = ["email", "first_name"]

    It adds no field, no manager and no ``Meta``, and so no migration.
    """

    customerio: PersonAccessor
    """The verbs, such as ``customer.customerio.track("signed_up")``."""

    # Hidden from pyright, which takes it for incompatible with that of the other base.
    if not TYPE_CHECKING:  # pragma: no branch

        class Meta:
            abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save as ever; in autocommit mode, together with the message in one transaction.

        Django sends ``post_save`` after an autocommit has committed: a process killed in
        between would have changed the row and said nothing. ``atomic = False`` in the map
        turns this off.
        """
        person_map = registry.get(type(self))
        if person_map is None or not person_map.atomic:
            return super().save(*args, **kwargs)
        given = dict(zip(_SAVE_ARGUMENTS, args, strict=False)) | kwargs
        if not person_map.touches(given.get("update_fields")):
            return super().save(*args, **kwargs)
        using = given.get("using") or router.db_for_write(type(self), instance=self)
        if not connections[using].get_autocommit():  # nor is it inside atomic()
            return super().save(*args, **kwargs)
        with transaction.atomic(using=using):
            return super().save(*args, **kwargs)


# An abstract model's Meta hides that of the bases behind it, and with it their constraints
# and indexes: makemigrations would remove those.
del CustomerIOMixin.Meta  # type: ignore[attr-defined]


def mixin_models(apps: Apps = installed_apps) -> list[type[CustomerIOMixin]]:
    """Return the installed models that have the mixin, proxies included."""
    return [model for model in apps.get_models() if issubclass(model, CustomerIOMixin)]


def load(*, apps: Apps = installed_apps, site: Registry = registry) -> None:
    """Map the models that have the mixin, and put the accessor on them. Safe to repeat.

    Raises:
        ImproperlyConfigured: a ``class CustomerIO`` is wrong, missing or without effect.
    """
    mapped = mixin_models(apps)
    site.load(mapped)
    for model in mapped:
        person_map = site.get(model)
        if person_map is None:
            raise ImproperlyConfigured(
                f"{model._meta.label} has CustomerIOMixin but no map: give it an inner class "
                f"CustomerIO with id and attributes."
            )
        if person_map.accessor is not None:
            _install(model, person_map.accessor)
    for stranger in apps.get_models():
        if inner_class(stranger) is not None and site.get(stranger) is None:
            raise ImproperlyConfigured(
                f"{stranger._meta.label} has an inner class CustomerIO that nothing reads: "
                f"put CustomerIOMixin first among the model's bases."
            )


def _install(model: type[models.Model], name: str) -> None:
    present = getattr_static(model, name, None)
    if isinstance(present, AccessorDescriptor):
        return
    if present is not None or any(name == field.name for field in model._meta.get_fields()):
        raise ImproperlyConfigured(
            f"{model._meta.label} has an attribute {name!r} of its own: choose another name "
            f'for the verbs, such as accessor = "cio", in its class CustomerIO.'
        )
    setattr(model, name, AccessorDescriptor())
