"""Automations of the Prefect server: detect lost runs, notify a webhook of failures and promotions.

`ensure` creates or updates them; `make up` and `make deploy` call it.
"""

from datetime import timedelta
from typing import cast

import flows  # noqa: F401  the settings come before Prefect

from prefect.automations import Automation  # isort: skip
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, SendNotification
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

PROMOTED = "jabert.promoted"
"""Name of the event of a new champion; its payload has a reason and links."""
_RUNS = ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"})
_OF_TAGGED_DEPLOYMENTS = ResourceSpecification(
    {"prefect.resource.role": "tag", "prefect.resource.id": "prefect.tag.jabert"}
)
_HEARTBEAT = "prefect.flow-run.heartbeat"
_ENDS = {f"prefect.flow-run.{name}" for name in ("Completed", "Unchanged", "Failed", "Crashed", "Cancelled")}
_SILENCE = timedelta(seconds=100)  # three heartbeats of a worker's runs, see deploy/supervisord.conf
_STARTUP = timedelta(minutes=5)


def ensure(webhook: str) -> list[str]:
    """Create the automations on the server or update those that differ; returns their names.

    Args:
        webhook: URL that gets `{"subject": …, "text": …}`; if it is empty, the notifications are deleted.
    """
    wanted = [_lost_runs(), _stuck_runs()]
    if webhook:
        from prefect.blocks.notifications import CustomWebhookNotificationBlock

        block = CustomWebhookNotificationBlock(
            name="jabert", url=webhook, json_data={"subject": "{{subject}}", "text": "{{body}}"}
        )
        saved = block.save("jabert", overwrite=True)
        wanted += [_failures(SendNotification(block_document_id=saved, subject=_FAILED, body=_WHY))]
        wanted += [_promotions(SendNotification(block_document_id=saved, subject=_CHAMPION, body=_EVENT))]
    else:
        for name in (_FAILURES, _PROMOTIONS):
            if earlier := _find(name):
                earlier.delete()
    for automation in wanted:
        _ensure(automation)
    return [automation.name for automation in wanted]


_FAILURES, _PROMOTIONS = "jabert: failures", "jabert: promotions"
_FAILED = "jabert: {{ flow_run.name }} of {{ deployment.name }}: {{ flow_run.state.name }}"
_WHY = "{{ flow_run.state.message }}\n{{ flow_run|ui_url }}\n{{ deployment|ui_url }}"
_CHAMPION = "jabert: {{ event.resource.name }} is the new champion"
_EVENT = "{{ event.payload.reason }}\n{{ event.payload.links }}"


def _lost_runs() -> Automation:
    """Mark a run as crashed if its heartbeat stops before it ends: it was killed together with its worker."""
    silent = f"no sign of life for {_SILENCE.seconds} s"
    message = f"the run's process is gone, {silent}; the next run goes on from its work"
    return _crashed_without("jabert: lost runs", {_HEARTBEAT}, {_HEARTBEAT, *_ENDS}, _SILENCE, message)


def _stuck_runs() -> Automation:
    """Mark a run as crashed if its worker accepted but never started it: the worker was killed."""
    message = f"the run did not begin within {_STARTUP.seconds} s: its worker is gone"
    after, expect = {"prefect.flow-run.Pending"}, {"prefect.flow-run.Running", *_ENDS}
    return _crashed_without("jabert: stuck runs", after, expect, _STARTUP, message)


def _crashed_without(
    name: str, after: set[str], expect: set[str], within: timedelta, message: str
) -> Automation:
    """Mark a run of jabert as crashed if an event in `after` is not followed by one in `expect` in time."""
    trigger = EventTrigger(
        match=_RUNS,
        match_related=_OF_TAGGED_DEPLOYMENTS,
        after=after,
        expect=expect,
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=within,
    )
    action = ChangeFlowRunState(state=StateType.CRASHED, name="Crashed", message=message)
    return Automation(name=name, trigger=trigger, actions=[action])


def _failures(notify: SendNotification) -> Automation:
    trigger = EventTrigger(
        match=_RUNS,
        match_related=_OF_TAGGED_DEPLOYMENTS,
        expect={"prefect.flow-run.Failed", "prefect.flow-run.Crashed", "prefect.flow-run.TimedOut"},
        for_each={"prefect.resource.id"},
        posture=Posture.Reactive,
        threshold=1,
    )
    return Automation(name=_FAILURES, trigger=trigger, actions=[notify])


def _promotions(notify: SendNotification) -> Automation:
    trigger = EventTrigger(expect={PROMOTED}, posture=Posture.Reactive, threshold=1)
    return Automation(name=_PROMOTIONS, trigger=trigger, actions=[notify])


def _ensure(wanted: Automation) -> None:
    """Create an automation or update a different one; an update makes it forget the runs that it watches."""
    found = _find(wanted.name)
    if found is None:
        wanted.create()
        return
    same = {"name", "description", "trigger", "actions"}
    if found.model_dump(include=same) != wanted.model_dump(include=same):
        wanted.id, wanted.enabled = found.id, found.enabled
        wanted.update()


def _find(name: str) -> Automation | None:
    try:
        return cast(Automation, Automation.read(name=name))  # not a coroutine, since this is synchronous code
    except ValueError:  # there is none
        return None
