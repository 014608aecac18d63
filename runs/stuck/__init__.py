"""Where runs are, and which of them do not get on."""
