#!/usr/bin/env python
"""Holdfast's command line: `manage.py up` starts everything; `manage.py help` lists the rest."""

import sys

if __name__ == "__main__":
    try:
        from holdfast.cli import main
    except ImportError as error:
        sys.exit(f"Holdfast is not installed here ({error}). Write: .venv/bin/pip install -e .")
    sys.exit(main())
