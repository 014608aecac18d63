"""What `manage.py up` and `manage.py work --max` are made of: children, their output, and the loop over both."""
