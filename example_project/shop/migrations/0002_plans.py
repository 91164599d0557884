"""The three plans on sale."""

from django.db import migrations

PLANS = [
    ("solo", "Solo", "9.00", "For one pair of ears.", "Every album in full\nOne listener\nCancel at any time"),
    ("duo", "Duo", "14.00", "For two, with their own shelves.", "Everything in Solo\nTwo listeners\nA shelf for each"),
    ("collector", "Collector", "29.00", "With a record in the post.", "Everything in Duo\nLossless sound\nOne record a month, yours to keep"),
]


def add_plans(apps, schema_editor):
    plans = apps.get_model("shop", "Plan").objects.using(schema_editor.connection.alias)
    for position, (slug, name, price, summary, features) in enumerate(PLANS):
        plans.get_or_create(
            slug=slug,
            defaults={
                "name": name,
                "price": price,
                "summary": summary,
                "features": features,
                "position": position,
            },
        )


class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial")]
    operations = [migrations.RunPython(add_plans, migrations.RunPython.noop)]
