#!/usr/bin/env python
"""Holdfast's command line: `manage.py up` starts everything; `manage.py help` lists the rest."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "holdfast.settings")
    try:
        from django.core.management import execute_from_command_line
    except ImportError:
        sys.exit("Django is not installed here. Activate the virtual environment, then: pip install -e .")
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
