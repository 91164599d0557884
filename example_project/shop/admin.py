"""The shop's side of the admin; django-customerio brings its own."""

from __future__ import annotations

from django.contrib import admin

from shop.models import Customer, Order, Plan


class OrderInline(admin.TabularInline):
    model = Order
    extra = 0
    max_num = 0
    can_delete = False
    fields = readonly_fields = ("placed_at", "description", "quantity", "amount")


@admin.register(Customer)
class CustomerAdmin(admin.ModelAdmin):
    list_display = ("email", "first_name", "plan", "lifetime_value", "date_joined", "is_staff")
    list_filter = ("plan", "is_staff", "is_active")
    search_fields = ("email", "first_name", "uuid")
    fields = (
        "uuid",
        "email",
        "first_name",
        "last_name",
        "plan",
        "plan_since",
        "lifetime_value",
        "unsubscribed",
        "is_active",
        "is_staff",
        "date_joined",
        "last_login",
    )
    readonly_fields = ("uuid", "lifetime_value", "date_joined", "last_login")
    inlines = (OrderInline,)


@admin.register(Plan)
class PlanAdmin(admin.ModelAdmin):
    list_display = ("name", "slug", "price", "position")


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    list_display = ("customer", "placed_at", "description", "quantity", "amount")
    list_select_related = ("customer",)
    date_hierarchy = "placed_at"
    search_fields = ("customer__email",)
