"""What `manage.py up` is made of: children, their output, and the loop over both."""
