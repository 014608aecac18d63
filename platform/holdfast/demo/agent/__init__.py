"""research-agent, an example to copy: a small agent whose every call of the outside world is a durable step.

`clients.py` is the outside world behind two small interfaces, with stand-ins that need no network; `steps.py` calls it;
`task.py` is the agent. Its tests, `tests/unit/holdfast/test_demo_agent.py`, are an example as well.
"""
