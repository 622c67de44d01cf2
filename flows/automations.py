"""Automations of the Prefect server: detect lost runs, notify a webhook of failures and promotions.

`ensure` creates or updates them; `make up` and `make deploy` call it.
"""

from datetime import timedelta
from typing import Any, cast

import flows  # noqa: F401  the settings come before Prefect

from prefect.automations import Automation  # isort: skip
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ActionTypes, ChangeFlowRunState, SendNotification
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

PROMOTED = "jabert.promoted"
"""Name of the event of a new champion; its payload has a reason and links."""
_RUNS = ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"})
_OF_TAGGED_DEPLOYMENTS = ResourceSpecification(
    {"prefect.resource.role": "tag", "prefect.resource.id": "prefect.tag.jabert"}
)
_HEARTBEAT = "prefect.flow-run.heartbeat"
_GOOD_ENDS = ("Completed", "Promoted", "Kept", "Refused", "Unchanged")
_ENDS = {f"prefect.flow-run.{name}" for name in (*_GOOD_ENDS, "Failed", "Crashed", "Cancelled")}
_SILENCE = timedelta(seconds=100)  # three heartbeats of a worker's runs, see deploy/supervisord.conf
_STARTUP = timedelta(minutes=5)
_FAILURES, _PROMOTIONS = "jabert: failures", "jabert: promotions"
_FAILED = "jabert: {{ flow_run.name }} of {{ deployment.name }}: {{ flow_run.state.name }}"
_WHY = "{{ flow_run.state.message }}\n{{ flow_run|ui_url }}\n{{ deployment|ui_url }}"
_CHAMPION = "jabert: {{ event.resource.name }} is the new champion"
_EVENT = "{{ event.payload.reason }}\n{{ event.payload.links }}"


def ensure(webhook: str) -> list[str]:
    """Create the automations on the server or update those that differ; returns their names.

    An update makes an automation forget the runs that it watches.

    Args:
        webhook: URL that gets `{"subject": …, "text": …}`; if it is empty, the notifications are deleted.
    """
    # A run whose heartbeat stops before it ends was killed together with its worker.
    silent = f"no sign of life for {_SILENCE.seconds} s"
    gone = f"the run's process is gone, {silent}; the next run goes on from its work"
    lost = _crashed_without("jabert: lost runs", {_HEARTBEAT}, {_HEARTBEAT, *_ENDS}, _SILENCE, gone)
    # The worker of a run that it accepted but never started was killed.
    after, expect = {"prefect.flow-run.Pending"}, {"prefect.flow-run.Running", *_ENDS}
    late = f"the run did not begin within {_STARTUP.seconds} s: its worker is gone"
    wanted = [lost, _crashed_without("jabert: stuck runs", after, expect, _STARTUP, late)]
    if webhook:
        from prefect.blocks.notifications import CustomWebhookNotificationBlock

        block = CustomWebhookNotificationBlock(
            name="jabert",
            url="{{address}}",  # a secret by itself, where it holds a token: the server's API shows it masked
            secrets={"address": webhook},
            json_data={"subject": "{{subject}}", "text": "{{body}}"},
        )
        saved = block.save("jabert", overwrite=True)
        failed = {f"prefect.flow-run.{name}" for name in ("Failed", "Crashed", "TimedOut")}
        notify = SendNotification(block_document_id=saved, subject=_FAILED, body=_WHY)
        wanted += [_of_runs(_FAILURES, notify, posture=Posture.Reactive, expect=failed)]
        trigger = EventTrigger(expect={PROMOTED}, posture=Posture.Reactive, threshold=1)
        notify = SendNotification(block_document_id=saved, subject=_CHAMPION, body=_EVENT)
        wanted += [Automation(name=_PROMOTIONS, trigger=trigger, actions=[notify])]
    else:
        for name in (_FAILURES, _PROMOTIONS):
            if earlier := _find(name):
                earlier.delete()
    same = {"name", "description", "trigger", "actions"}
    for automation in wanted:
        found = _find(automation.name)
        if found is None:
            automation.create()
        elif found.model_dump(include=same) != automation.model_dump(include=same):
            automation.id, automation.enabled = found.id, found.enabled
            automation.update()
    return [automation.name for automation in wanted]


def _crashed_without(
    name: str, after: set[str], expect: set[str], within: timedelta, message: str
) -> Automation:
    """Mark a run of jabert as crashed if an event in `after` is not followed by one in `expect` in time."""
    crash = ChangeFlowRunState(state=StateType.CRASHED, name="Crashed", message=message)
    return _of_runs(name, crash, posture=Posture.Proactive, after=after, expect=expect, within=within)


def _of_runs(name: str, action: ActionTypes, **trigger: Any) -> Automation:
    """An automation that acts on each run of jabert's deployments by itself."""
    runs: dict[str, Any] = {"match": _RUNS, "match_related": _OF_TAGGED_DEPLOYMENTS, "threshold": 1}
    watched = EventTrigger(for_each={"prefect.resource.id"}, **runs, **trigger)
    return Automation(name=name, trigger=watched, actions=[action])


def _find(name: str) -> Automation | None:
    try:
        return cast(Automation, Automation.read(name=name))  # not a coroutine, since this is synchronous code
    except ValueError:  # there is none
        return None
