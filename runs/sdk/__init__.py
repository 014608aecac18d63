"""What task code imports, by way of `runs`: decorators, the current run, and the handle of an enqueued one.

Nothing here knows the engine: a task or step that is called outside a run is the plain function it decorates. The
engine puts a `RunContext` into the context variable of `runs.sdk.context` while it executes a run.
"""
