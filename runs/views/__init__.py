"""Pages: fetch, authorise, one call, render. A page and its fragment share one view and one context."""
