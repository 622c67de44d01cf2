"""What the Prefect server is told to do by itself."""

from prefect.client.orchestration import get_client

from flows.automations import ensure

OWN = ["jabert: lost runs", "jabert: stuck runs"]
TOLD = ["jabert: failures", "jabert: promotions"]


def there():
    with get_client(sync_client=True) as client:
        found = client.request("POST", "/automations/filter", json={}).json()
    return {automation["name"]: automation["id"] for automation in found}


def test_a_webhook_is_told_until_there_is_none_any_more():
    assert ensure("http://127.0.0.1:9/told") == [*OWN, *TOLD]
    before = there()
    assert sorted(before) == sorted([*OWN, *TOLD])

    assert ensure("") == OWN
    assert there() == {name: before[name] for name in OWN}

    assert ensure("") == OWN  # nothing is there to be deleted
    assert there().keys() == set(OWN)
