def test_an_event_is_answered_with_the_runs_that_it_started(api):
    answer = api.post("/events", {"name": "order.paid", "payload": {"number": 1, "text": "x"}})
    assert answer.status_code == 201
    assert [item["task"] for item in answer.json()["items"]] == ["announces", "counts-orders"]
    assert api.get(f"/runs/{answer.json()['items'][0]['id']}").json()["tags"] == ["event:order.paid"]
    assert api.post("/events", {"name": "nobody.listens"}).json() == {"items": []}


def test_what_is_wrong_with_an_event_is_named_and_starts_nothing(api, refused):
    refused(api.post("/events", {}), 422, field="name")
    refused(api.post("/events", {"name": "order paid"}), 422, field="name")
    refused(api.post("/events", {"name": "order.paid", "payload": [1]}), 422, field="payload")
    refused(api.post("/events", {"name": "order.paid", "payload": {"number": 1}}), 422, field="payload.text")
    refused(api.post("/events", {"name": "order.paid", "options": {"priority": "x"}}), 422, field="options.priority")


def test_only_whoever_may_start_runs_emits_events(with_role, known_tasks, refused):
    refused(with_role("operator").post("/events", {"name": "order.paid"}), 403)
