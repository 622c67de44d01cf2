"""The automations of the Prefect server."""

from prefect.client.orchestration import get_client

from flows.automations import ensure

OWN = ["jabert: lost runs", "jabert: stuck runs"]
TOLD = ["jabert: failures", "jabert: promotions"]


def existing():
    with get_client(sync_client=True) as client:
        found = client.request("POST", "/automations/filter", json={}).json()
    return {automation["name"]: automation["id"] for automation in found}


def test_a_webhook_is_told_until_there_is_none_any_more():
    assert ensure("http://127.0.0.1:9/told") == [*OWN, *TOLD]
    before = existing()
    assert sorted(before) == sorted([*OWN, *TOLD])

    assert ensure("") == OWN
    assert existing() == {name: before[name] for name in OWN}

    assert ensure("") == OWN  # nothing to delete
    assert existing().keys() == set(OWN)
