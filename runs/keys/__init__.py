"""Keys under which several enqueues are one run: idempotency keys and debounces."""
