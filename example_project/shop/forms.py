"""What customers fill in."""

from __future__ import annotations

from typing import get_args

from django import forms
from django.contrib.auth.forms import AuthenticationForm, BaseUserCreationForm

from shop.events import Reason
from shop.models import Customer


class SignUpForm(BaseUserCreationForm):
    class Meta:
        model = Customer
        fields = ("first_name", "email")

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.fields["first_name"].widget.attrs |= {"autocomplete": "given-name"}
        self.fields["email"].widget.attrs |= {"autocomplete": "email"}
        self.fields["password1"].help_text = "At least 8 characters, not all of them digits."
        self.fields["password2"].label = "Password, once more"
        self.fields["password2"].help_text = ""

    def clean_email(self):
        email = self.cleaned_data["email"].lower()
        if Customer.objects.filter(email=email).exists():
            raise forms.ValidationError("There is an account with this address. Log in instead?")
        return email


class LogInForm(AuthenticationForm):
    def clean_username(self):
        return self.cleaned_data["username"].lower()


class ProfileForm(forms.ModelForm):
    class Meta:
        model = Customer
        fields = ("first_name", "email", "unsubscribed")
        labels = {"unsubscribed": "Send me no newsletters"}

    def clean_email(self):
        email = self.cleaned_data["email"].lower()
        if Customer.objects.exclude(pk=self.instance.pk).filter(email=email).exists():
            raise forms.ValidationError("Another account has this address.")
        return email


class CancelForm(forms.Form):
    reason = forms.ChoiceField(
        label="Why do you leave the plan?",
        choices=[(value, value.replace("_", " ").capitalize()) for value in get_args(Reason)],
        widget=forms.RadioSelect,
    )


class DeleteForm(forms.Form):
    password = forms.CharField(
        label="Your password",
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )

    def __init__(self, customer, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.customer = customer

    def clean_password(self):
        password = self.cleaned_data["password"]
        if not self.customer.check_password(password):
            raise forms.ValidationError("This is not your password.")
        return password
