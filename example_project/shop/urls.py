"""Addresses of the shop's pages."""

from __future__ import annotations

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from shop import views
from shop.forms import LogInForm

urlpatterns = [
    path("", views.home, name="home"),
    path("plans/", views.plans, name="plans"),
    path("plans/<slug:slug>/buy/", views.buy, name="buy"),
    path("sign-up/", views.sign_up, name="sign_up"),
    path(
        "log-in/",
        LoginView.as_view(
            authentication_form=LogInForm,
            template_name="shop/log_in.html",
            redirect_authenticated_user=True,
        ),
        name="login",
    ),
    path("log-out/", LogoutView.as_view(), name="logout"),
    path("account/", views.account, name="account"),
    path("account/cancel/", views.cancel, name="cancel"),
    path("account/delete/", views.delete_account, name="delete_account"),
]
