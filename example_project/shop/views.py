"""The pages of the shop."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth import login, logout
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from shop.forms import CancelForm, DeleteForm, ProfileForm, SignUpForm
from shop.models import Customer, Plan


@require_GET
def home(request: HttpRequest) -> HttpResponse:
    return render(request, "shop/home.html", {"plans": Plan.objects.all()})


@require_GET
def plans(request: HttpRequest) -> HttpResponse:
    return render(request, "shop/plans.html", {"plans": Plan.objects.all()})


@require_http_methods(["GET", "POST"])
def sign_up(request: HttpRequest) -> HttpResponse:
    if request.user.is_authenticated:
        return redirect("account")
    form = SignUpForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        customer = form.save()
        login(request, customer)
        messages.success(request, f"Welcome, {customer}!")
        return redirect("plans")
    return render(request, "shop/sign_up.html", {"form": form})


@login_required
@require_http_methods(["GET", "POST"])
def account(request: HttpRequest) -> HttpResponse:
    # A copy: a refused change must not show up in the heading.
    customer = Customer.objects.get(pk=request.user.pk)
    form = ProfileForm(request.POST or None, instance=customer)
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, "Your profile is saved.")
        return redirect("account")
    orders = request.user.orders.all()[:50]
    return render(request, "shop/account.html", {"form": form, "orders": orders})


@login_required
@require_POST
def buy(request: HttpRequest, slug: str) -> HttpResponse:
    plan = get_object_or_404(Plan, slug=slug)
    if request.user.subscribe(plan):
        messages.success(request, f"You are on {plan} now. Thank you!")
    else:
        messages.info(request, f"You are on {plan} already.")
    return redirect("account")


@login_required
@require_http_methods(["GET", "POST"])
def cancel(request: HttpRequest) -> HttpResponse:
    if request.user.plan is None:
        messages.info(request, "You have no plan to cancel.")
        return redirect("account")
    form = CancelForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        request.user.cancel(form.cleaned_data["reason"])
        messages.success(request, "Your plan is cancelled.")
        return redirect("account")
    return render(request, "shop/cancel.html", {"form": form})


@login_required
@require_http_methods(["GET", "POST"])
def delete_account(request: HttpRequest) -> HttpResponse:
    form = DeleteForm(request.user, request.POST or None)
    if request.method == "POST" and form.is_valid():
        customer = request.user
        logout(request)
        customer.delete()
        messages.success(request, "Your account is deleted. Goodbye!")
        return redirect("home")
    return render(request, "shop/delete_account.html", {"form": form})
